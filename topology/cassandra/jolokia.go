package cassandra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// JMX is the management interface of one node, asked over HTTP through the Jolokia agent in its process (Jolokia reference,
// "Protocol"). What nodetool does is one call here, a few milliseconds instead of a JVM's start.
//
// Errors: topology.ErrUnreachable is proof that nothing was sent, topology.ErrUnknown that nobody answered what was sent; a
// *JMXError is the node's own refusal.
type JMX struct {
	name string
	url  string
	http *http.Client
}

// JMXError is what a node answered instead of a value.
type JMXError struct {
	Type string // class of the exception: "java.lang.UnsupportedOperationException"
	Text string
}

// Error is the node's own text.
func (e *JMXError) Error() string {
	text, _, _ := strings.Cut(e.Text, "\n")
	if text == "" {
		return e.Type
	}
	return text
}

// OpenJMX prepares calls to the agent at an address ("ip:port"); name is what errors call the node. Nothing is dialled yet.
func OpenJMX(name, address string) *JMX {
	return &JMX{name: name, url: "http://" + address + "/jolokia/", http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 5 * time.Second},
	}}
}

// Close lets go of its connections.
func (j *JMX) Close() { j.http.CloseIdleConnections() }

// Name is the node's name, as given.
func (j *JMX) Name() string { return j.name }

// MBeans that are asked.
const (
	beanStorage  = "org.apache.cassandra.db:type=StorageService"
	beanGossiper = "org.apache.cassandra.net:type=Gossiper"
	beanDetector = "org.apache.cassandra.net:type=FailureDetector"
	beanRuntime  = "java.lang:type=Runtime"
)

// answerLimit bounds what is read of an answer.
const answerLimit = 16 << 20

// readLimit bounds one read: it takes milliseconds.
const readLimit = 5 * time.Second

// read reads attributes of an MBean into out.
func (j *JMX) read(ctx context.Context, bean string, out any, attributes ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readLimit, fmt.Errorf("no answer within %v", readLimit))
	defer cancel()
	var attribute any = attributes
	if len(attributes) == 1 {
		attribute = attributes[0]
	}
	return j.call(ctx, map[string]any{"type": "read", "mbean": bean, "attribute": attribute}, out)
}

// exec calls an operation of an MBean, with its signature where it is overloaded: "rebuild(java.lang.String)". It lasts as long
// as ctx allows: some operations return when their work is done.
func (j *JMX) exec(ctx context.Context, out any, bean, operation string, arguments ...any) error {
	if arguments == nil {
		arguments = []any{}
	}
	return j.call(ctx, map[string]any{"type": "exec", "mbean": bean, "operation": operation, "arguments": arguments}, out)
}

func (j *JMX) call(ctx context.Context, request map[string]any, out any) error {
	what := fmt.Sprint(request["operation"])
	if request["type"] == "read" {
		what = fmt.Sprintf("read %v", request["attribute"])
	}
	wrap := func(err error) error { return fmt.Errorf("%s at Cassandra %s: %w", what, j.name, err) }
	body, err := json.Marshal(request)
	if err != nil {
		return wrap(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, j.url, bytes.NewReader(body))
	if err != nil {
		return wrap(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := j.http.Do(r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		if refused(err) {
			return wrap(fmt.Errorf("%w: %w", topology.ErrUnreachable, err))
		}
		return wrap(fmt.Errorf("%w: %w", topology.ErrUnknown, err))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return wrap(fmt.Errorf("%w: %w", topology.ErrUnknown, err))
	}
	var answer struct {
		Status int             `json:"status"`
		Value  json.RawMessage `json:"value"`
		Error  string          `json:"error"`
		Type   string          `json:"error_type"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return wrap(fmt.Errorf("%s: %q is no answer of the agent", resp.Status, b[:min(len(b), 200)]))
	}
	if answer.Status != http.StatusOK {
		return wrap(&JMXError{answer.Type, strings.TrimPrefix(answer.Error, answer.Type+" : ")})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Value, out); err != nil {
		return wrap(fmt.Errorf("read its answer: %w", err))
	}
	return nil
}

// Drain makes the node write everything to its tables and take nothing any more, from clients and from peers. Its process goes on.
func (j *JMX) Drain(ctx context.Context) error { return j.exec(ctx, nil, beanStorage, "drain()") }

// Mode is what the node says it is doing: NORMAL, STARTING, JOINING, DRAINED, …
func (j *JMX) Mode(ctx context.Context) (string, error) {
	var mode string
	err := j.read(ctx, beanStorage, &mode, "OperationMode")
	return mode, err
}

// RemoveNode takes a node that is down out of the ring, by its host id, and returns when it is out. The node's answer is waited
// for as long as ctx allows; the removal itself goes on without the caller, so that one who died may wait for it again.
func (j *JMX) RemoveNode(ctx context.Context, host string) error {
	return j.exec(ctx, nil, beanStorage, "removeNode(java.lang.String)", host)
}

// RemovalStatus is what the node says of a removal that it is carrying out.
func (j *JMX) RemovalStatus(ctx context.Context) (string, error) {
	var status string
	err := j.read(ctx, beanStorage, &status, "RemovalStatus")
	return status, err
}

// Assassinate makes a node that is gone for ever leave the gossip at once, by its broadcast address: the documented way where
// RemoveNode cannot end (nodetool assassinate). It is called on one node at a time.
func (j *JMX) Assassinate(ctx context.Context, address string) error {
	return j.exec(ctx, nil, beanGossiper, "assassinateEndpoint(java.lang.String)", address)
}

// Rebuild streams a keyspace's data that belong to the node from another region, and returns when they are here.
func (j *JMX) Rebuild(ctx context.Context, source, keyspace string) error {
	return j.exec(ctx, nil, beanStorage, "rebuild(java.lang.String,java.lang.String,java.lang.String,java.lang.String)", source, keyspace, nil, nil)
}

// Rebuilding says whether an error of Rebuild means that one is under way, begun by a caller who is gone.
func Rebuilding(err error) bool {
	var refusal *JMXError
	return errors.As(err, &refusal) && strings.Contains(refusal.Text, "still rebuilding")
}

// Removing says whether an error of RemoveNode means that one is under way, begun by a caller who is gone.
func Removing(err error) bool {
	var refusal *JMXError
	return errors.As(err, &refusal) && strings.Contains(refusal.Text, "already processing a removal")
}

// Repair compares a keyspace's data with every replica's and makes them equal, whole (not incremental); it returns when that is
// done. Where a rebuild cannot be had.
func (j *JMX) Repair(ctx context.Context, keyspace string) error {
	var number int
	options := map[string]string{"incremental": "false", "parallelism": "parallel", "primaryRange": "false"}
	if err := j.exec(ctx, &number, beanStorage, "repairAsync(java.lang.String,java.util.Map)", keyspace, options); err != nil {
		return err
	}
	if number == 0 {
		return nil // there is nothing to repair
	}
	var last []string
	for {
		if err := j.exec(ctx, &last, beanStorage, "getParentRepairStatus(int)", number); err != nil {
			return err
		}
		switch {
		case len(last) > 0 && last[0] == "COMPLETED":
			return nil
		case len(last) > 0 && last[0] == "FAILED":
			return fmt.Errorf("repair %s at Cassandra %s: %s", keyspace, j.name, strings.Join(last, ": "))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for the repair of %s at Cassandra %s: %w; last saw: %v", keyspace, j.name, context.Cause(ctx), last)
		}
	}
}

// Compact writes each table of a keyspace anew: what was deleted longer ago than the table's grace is forgotten.
func (j *JMX) Compact(ctx context.Context, keyspace string, tables ...string) error {
	if err := j.exec(ctx, nil, beanStorage, "forceKeyspaceFlush(java.lang.String,[Ljava.lang.String;)", keyspace, tables); err != nil {
		return err
	}
	return j.exec(ctx, nil, beanStorage, "forceKeyspaceCompaction(boolean,java.lang.String,[Ljava.lang.String;)", false, keyspace, tables)
}

// refused says whether an error proves that no byte left: the connection was not made.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
