package acquirer

import (
	"fmt"
	"net/http"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/mono"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// Closing is one line of the second log: a charge that was given back, or a payment that will never be charged.
type Closing struct {
	T       int64  `json:"t"`       // CLOCK_MONOTONIC, ns
	Kind    string `json:"kind"`    // refund, void
	Payment string `json:"payment"` // payment id
	Request string `json:"request,omitempty"`
	Yen     int64  `json:"yen,omitempty"`
	Dup     bool   `json:"dup,omitempty"` // asked again; nothing was done
}

// Kinds of closings.
const (
	KindRefund = "refund"
	KindVoid   = "void"
)

func (s *Server) rememberClosing(c Closing) {
	switch {
	case c.Dup:
	case c.Kind == KindVoid:
		s.voided[c.Payment] = true
	case c.Kind == KindRefund:
		s.refunded[c.Request] = c
	}
}

// closed says why a charge is refused for good, or "". The lock is held.
func (s *Server) closed(c payment.Charge) string {
	if s.voided[c.Payment] {
		return fmt.Sprintf("payment %s was voided", c.Payment)
	}
	if _, ok := s.refunded[c.Request]; ok {
		return fmt.Sprintf("request %s was given back", c.Request)
	}
	if s.account(c.Payment).Closed() {
		return fmt.Sprintf("all charges of payment %s were given back", c.Payment)
	}
	return ""
}

func (s *Server) refund(w http.ResponseWriter, r *http.Request) {
	var c payment.Refund
	if !web.Decode(w, r, &c) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		web.Refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("charge log: %v", s.fault))
		return
	}
	charge, ok := s.seen[c.Request]
	switch {
	case !ok || charge.Payment != c.Payment:
		web.Refuse(w, http.StatusNotFound, fmt.Sprintf("payment %q was not charged under request %q", c.Payment, c.Request))
		return
	case charge.Yen != c.Yen:
		web.Refuse(w, http.StatusConflict, fmt.Sprintf("request %s charged %d yen, %d were asked back", c.Request, charge.Yen, c.Yen))
		return
	}
	_, dup := s.refunded[c.Request]
	l := Closing{T: mono.Now(), Kind: KindRefund, Payment: c.Payment, Request: c.Request, Yen: c.Yen, Dup: dup}
	if err := s.append(s.closings, l); err != nil {
		web.Refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	s.rememberClosing(l)
	web.Answer(w, http.StatusOK, refundAnswer{Refunded: true, Dup: dup})
}

type refundAnswer struct {
	Refunded bool `json:"refunded"`
	Dup      bool `json:"dup"`
}

type voidBody struct {
	Payment string `json:"payment"`
}

// void decides, once and for all: a payment that is not charged now never will be.
func (s *Server) void(w http.ResponseWriter, r *http.Request) {
	var c voidBody
	if !web.Decode(w, r, &c) {
		return
	}
	if err := payment.CheckKey(c.Payment); err != nil {
		web.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		web.Refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("charge log: %v", s.fault))
		return
	}
	if a := s.account(c.Payment); len(a.Charges) == 0 {
		l := Closing{T: mono.Now(), Kind: KindVoid, Payment: c.Payment, Dup: a.Voided}
		if err := s.append(s.closings, l); err != nil {
			web.Refuse(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		s.rememberClosing(l)
	}
	web.Answer(w, http.StatusOK, s.account(c.Payment))
}
