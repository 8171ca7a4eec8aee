package acquirer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// Client asks an acquirer over HTTP. One call is one request.
type Client struct {
	url     string
	rt      http.RoundTripper
	timeout time.Duration
}

var _ payment.Acquirer = (*Client)(nil)

// NewClient makes a client of the acquirer at "http://host:port". timeout bounds one call.
// Without a transport it makes its own.
func NewClient(url string, rt http.RoundTripper, timeout time.Duration) *Client {
	if rt == nil {
		rt = web.Transport(500*time.Millisecond, 32)
	}
	return &Client{url: web.URL(url), rt: rt, timeout: timeout}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := web.Call(ctx, c.rt, method, c.url+path, in, out)
	var status *web.Status
	if errors.As(err, &status) && status.Code == http.StatusGone {
		return payment.NotExecuted(fmt.Errorf("%w: %w", payment.ErrClosed, err))
	}
	return err
}

// Charge implements payment.Acquirer.
func (c *Client) Charge(ctx context.Context, charge payment.Charge) (bool, error) {
	var a Answer
	if err := c.call(ctx, http.MethodPost, "/charges", charge, &a); err != nil {
		return false, fmt.Errorf("charge payment %s at the acquirer: %w", charge.Payment, err)
	}
	if !a.Charged {
		return false, fmt.Errorf("charge payment %s at the acquirer: it did not charge", charge.Payment)
	}
	return a.Dup, nil
}

// Status implements payment.Acquirer.
func (c *Client) Status(ctx context.Context, id string) (payment.Account, error) {
	var a payment.Account
	if err := c.call(ctx, http.MethodGet, "/accounts/"+url.PathEscape(id), nil, &a); err != nil {
		return payment.Account{}, fmt.Errorf("ask the acquirer about payment %s: %w", id, err)
	}
	return a, told(a, id)
}

// Void implements payment.Acquirer.
func (c *Client) Void(ctx context.Context, id string) (payment.Account, error) {
	var a payment.Account
	if err := c.call(ctx, http.MethodPost, "/voids", voidBody{id}, &a); err != nil {
		return payment.Account{}, fmt.Errorf("void payment %s at the acquirer: %w", id, err)
	}
	return a, told(a, id)
}

// told makes sure that an answer is about what was asked.
func told(a payment.Account, id string) error {
	if a.Payment != id {
		return fmt.Errorf("ask the acquirer about payment %s: it told of %q", id, a.Payment)
	}
	return nil
}

// Refund implements payment.Acquirer.
func (c *Client) Refund(ctx context.Context, r payment.Refund) (bool, error) {
	var a refundAnswer
	if err := c.call(ctx, http.MethodPost, "/refunds", r, &a); err != nil {
		return false, fmt.Errorf("refund payment %s at the acquirer: %w", r.Payment, err)
	}
	if !a.Refunded {
		return false, fmt.Errorf("refund payment %s at the acquirer: it did not", r.Payment)
	}
	return a.Dup, nil
}

// Accounts implements payment.Acquirer, page by page.
func (c *Client) Accounts(ctx context.Context) ([]payment.Account, error) {
	var all []payment.Account
	for after := ""; ; {
		var page []payment.Account
		if err := c.call(ctx, http.MethodGet, "/accounts?after="+url.QueryEscape(after), nil, &page); err != nil {
			return nil, fmt.Errorf("read the acquirer's accounts: %w", err)
		}
		if len(page) == 0 {
			return all, nil
		}
		if page[len(page)-1].Payment <= after {
			return nil, fmt.Errorf("read the acquirer's accounts: after %q it told of %q again", after, page[len(page)-1].Payment)
		}
		all, after = append(all, page...), page[len(page)-1].Payment
	}
}
