// Package web is the small common ground of the platform's HTTP parts: strict JSON in, JSON out, who answered, and the one header
// that turns a refusal into proof.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// Headers of the platform. Key is not called Idempotency-Key on purpose: Go's client sends a POST that carries that one again on
// its own, and then one attempt is no longer one request.
const (
	HeaderKey      = "X-Payment-Key"
	HeaderNode     = "X-Node"
	HeaderSite     = "X-Site"
	HeaderEpoch    = "X-Epoch"
	HeaderExecuted = "X-Executed" // "none": proof that this request changed nothing
)

// MaxBody is the largest request body that is read, in bytes.
const MaxBody = 64 << 10

type failure struct {
	Error   string `json:"error"`
	Outcome string `json:"outcome"` // none, unknown
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"encode answer","outcome":"unknown"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // the customer may have gone; nobody else to tell
}

// Refuse answers that nothing was done, with proof.
func Refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set(HeaderExecuted, "none")
	Answer(w, status, failure{Error: why, Outcome: "none"})
}

// Unknown answers that the outcome is not known.
func Unknown(w http.ResponseWriter, status int, why string) {
	Answer(w, status, failure{Error: why, Outcome: "unknown"})
}

// Decode reads the request's body into v: one JSON value, known fields and right types only. On any error it has refused the
// request and returns false.
func Decode(w http.ResponseWriter, r *http.Request, v any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		Refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("body is larger than %d bytes", MaxBody))
		return false
	}
	if err != nil {
		Refuse(w, http.StatusBadRequest, "read body: "+err.Error())
		return false
	}
	if err := Strict(body, v); err != nil {
		Refuse(w, http.StatusBadRequest, "read body: "+err.Error())
		return false
	}
	return true
}

// Strict reads exactly one JSON value with known fields and right types.
func Strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty, want one JSON value")
		}
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the JSON value")
	}
	return nil
}

// Identify stamps every answer with who gave it. epoch is asked at each request; 0 is not sent.
func Identify(node, site string, epoch func() int64, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(HeaderNode, node)
		if site != "" {
			w.Header().Set(HeaderSite, site)
		}
		w.Header().Set(HeaderEpoch, strconv.FormatInt(epoch(), 10))
		h.ServeHTTP(w, r)
	})
}

// NoEpoch is for parts that write under none.
func NoEpoch() int64 { return 0 }

// Mux returns a mux that refuses, with proof, what no pattern takes.
func Mux() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		Refuse(w, http.StatusNotFound, fmt.Sprintf("nothing is at %s %s", r.Method, r.URL.Path))
	})
	return m
}

// URL makes a base URL of "host:port" or "http://host:port".
func URL(endpoint string) string {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	return strings.TrimRight(endpoint, "/")
}

// Transport returns a transport of its own: bounded dials, kept connections, no proxy from the environment.
func Transport(dial time.Duration, idle int) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dial}).DialContext,
		MaxIdleConns:        idle,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
}

// Dialling says whether an error came from opening the connection: then no byte of the request was sent.
func Dialling(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// Call sends one JSON request and reads the JSON answer into out. Errors before the first byte, and refusals with proof, are
// payment.ErrNotExecuted. A status other than 200 is a *Status.
func Call(ctx context.Context, rt http.RoundTripper, method, url string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return payment.NotExecuted(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return payment.NotExecuted(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		if Dialling(err) {
			return payment.NotExecuted(err)
		}
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(b, &f) != nil || f.Error == "" {
			f.Error = strings.TrimSpace(string(b[:min(len(b), 200)]))
		}
		st := &Status{Code: res.StatusCode, Says: f.Error}
		if res.Header.Get(HeaderExecuted) == "none" {
			return payment.NotExecuted(st)
		}
		return st
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read answer of %s: %w", url, err)
	}
	return nil
}

// Status is an answer other than 200.
type Status struct {
	Code int
	Says string
}

// Error tells status and reason.
func (s *Status) Error() string { return fmt.Sprintf("answered %d: %s", s.Code, s.Says) }
