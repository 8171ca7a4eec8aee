package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
)

// approveCommand is the console of the person who approves: another one than the operator.
func approveCommand() *cobra.Command {
	var key, newKey, name string
	var valid, wait time.Duration
	c := &cobra.Command{
		Use:   "approve RUN STEP --key FILE",
		Short: "Approve a step that waits for it, as another person than the operator; or make a key",
		Long: `Sign the consent to one step of one run of one plan, for a time, with the approver's own key (ed25519). The operator who waits
judges it: consent by whoever operates the run, by nobody who is listed, to another plan, one that has expired or was presented
before is refused, and stands in the journal as refused.`,
		Example: `  kirikae approve --new-key ~/aiko.key --name Aiko
  kirikae approve latest 3 --key ~/aiko.key`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			switch {
			case newKey != "" && len(args) == 0:
				if strings.TrimSpace(name) == "" {
					return &steps.UsageError{Text: "whose key? Say --name NAME"}
				}
				public, err := makeKey(newKey)
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "# %s holds the private key. This line belongs under approvers: in approvers.yaml\n%s", newKey, procedure.ApproverLine(name, public))
				return nil
			case newKey != "":
				return &steps.UsageError{Text: "--new-key makes a key and approves nothing: leave RUN and STEP out"}
			case len(args) != 2:
				return &steps.UsageError{Text: "name the run and the step\nUsage: " + c.UseLine()}
			case key == "":
				return &steps.UsageError{Text: "--key FILE: an approval is signed with the approver's own key"}
			case valid <= 0 || valid > 24*time.Hour:
				return &steps.UsageError{Text: fmt.Sprintf("--for %v: expected a time up to 24h", valid)}
			}
			folder, err := runFolder(args[0])
			if err != nil {
				return err
			}
			private, err := readKey(key)
			if err != nil {
				return err
			}
			status, err := underWay(folder, args[0])
			if err != nil {
				return err
			}
			if err := oneOf("step that waits for an approval", args[1], status.Asking); err != nil {
				return err
			}
			a := history.Approval{Digest: status.Digest, Run: status.Run, Step: args[1], By: listed(status, private, name),
				Boot: history.BootID(), Expires: history.Monotonic{}.Now().Add(valid)}
			a.Sign(private)
			inbox := runbook.FolderInbox{Folder: folder}
			sent, err := inbox.Send(runbook.Request{Kind: history.EntryApproved, Run: status.Run, Who: a.By, Approval: &a})
			if err != nil {
				return err
			}
			answer, err := answered(c, folder, sent, wait)
			switch {
			case err != nil:
				return err
			case answer.Kind == history.EntryRejected:
				return &steps.FailedError{Err: errors.New(answer.Error)}
			}
			fmt.Fprintf(out, "%s approved step %s of %s for %v\n", a.By, a.Step, status.Procedure, valid)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&key, "key", "", "file with the approver's private key")
	f.DurationVar(&valid, "for", 15*time.Minute, "how long the approval holds: no act that is announced later is covered")
	f.DurationVar(&wait, "wait", 30*time.Second, "longest wait for the operator's answer")
	f.StringVar(&newKey, "new-key", "", "make a key, write it into this new file, and print the approver's line")
	f.StringVar(&name, "name", "", "with --new-key: whose key it is; else who approves, for a key that is not listed")
	return c
}

// underWay is the run that a folder's operator is at.
func underWay(folder, run string) (runbook.Status, error) {
	entries, err := history.LoadJournal(folder)
	if err != nil {
		return runbook.Status{}, err
	}
	status, ok := runbook.StatusOf(entries)
	if !ok || status.Ended {
		return status, &steps.UsageError{Text: fmt.Sprintf("run %s: no procedure is under way", run)}
	}
	return status, nil
}

// listed is the name under which the operator knows the holder of a key; otherwise who says he is.
func listed(s runbook.Status, key ed25519.PrivateKey, otherwise string) string {
	public := base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	for name, k := range s.Approvers {
		if k == public {
			return name
		}
	}
	if otherwise == "" {
		otherwise = os.Getenv("USER")
	}
	return otherwise
}

// answered waits for the operator's answer to a request.
func answered(c *cobra.Command, folder, request string, wait time.Duration) (history.Entry, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		entries, err := history.LoadJournal(folder)
		if err != nil {
			return history.Entry{}, err
		}
		for _, e := range entries {
			if e.Request == request {
				return e, nil
			}
		}
		select {
		case <-tick.C:
		case <-end.C:
			return history.Entry{}, fmt.Errorf("waited %v for an operator to answer; the request stays in the run folder for the next one: %w", wait, topology.ErrEnvironment)
		case <-c.Context().Done():
			return history.Entry{}, fmt.Errorf("wait for an answer: %w", c.Context().Err())
		}
	}
}

// approversOf reads who may approve: from the file that was named, the run folder's own, or the program's.
func approversOf(folder, file string) (map[string]ed25519.PublicKey, error) {
	from, name := procedure.OnDisk(), file
	if name == "" {
		name = filepath.Join(folder, procedure.ApproversFile)
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			from, name = fs.FS(fixtures.FS), procedure.ApproversFile
		}
	}
	out, err := procedure.Approvers(from, name)
	if err != nil {
		return nil, &steps.UsageError{Text: err.Error()}
	}
	return out, nil
}

// makeKey makes a private key in a new file that only its owner can read.
func makeKey(file string) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, &steps.UsageError{Text: fmt.Sprintf("make a key: %v", err)}
	}
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Close()); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return public, nil
}

// readKey reads a private key, and refuses one that others could have read.
func readKey(file string) (ed25519.PrivateKey, error) {
	bad := func(format string, a ...any) error {
		return &steps.UsageError{Text: fmt.Sprintf("key %s: %s", file, fmt.Sprintf(format, a...))}
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, bad("%v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, bad("others can read it (mode %04o), expected 0600", info.Mode().Perm())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, bad("%v", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, bad("it is not PEM, expected what `kirikae approve --new-key` writes")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, bad("%v", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, bad("it is no ed25519 key")
	}
	return private, nil
}
