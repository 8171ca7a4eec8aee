package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// part is one part of the platform, ready to be served.
type part struct {
	handler http.Handler
	run     func(ctx context.Context) error // background work until ctx ends; nil: none
	drain   func()                          // told before the part stops to take requests; nil: nobody to tell
	close   func() error                    // after the last request; nil: nothing to close
}

// An orderly stop takes at most 2 s: a part with a gateway before it first says that it goes, and goes on serving for two of the
// gateway's health checks; then the requests in flight have the rest.
const (
	lameFor  = 400 * time.Millisecond
	drainFor = 1500 * time.Millisecond
)

// listen takes the address, before anything else of a part starts.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, environment(fmt.Errorf("listen on %s: %w", address, err))
	}
	return l, nil
}

// serve serves a part until ctx ends, or until its background work fails.
func serve(ctx context.Context, l net.Listener, p part, log *slog.Logger) error {
	server := &http.Server{
		Handler:           p.handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // the work outlives the last request
	defer stop()
	worked := make(chan error, 1)
	go func() {
		if p.run == nil {
			<-work.Done()
			worked <- nil
			return
		}
		worked <- p.run(work)
	}()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	log.Info("listening", "address", l.Addr().String())

	var failed error
	ended := false
	select {
	case <-ctx.Done():
		log.Info("stopping")
		if p.drain != nil {
			p.drain()
			select {
			case <-time.After(lameFor):
			case failed = <-worked:
				ended = true
			}
		}
	case failed = <-worked:
		ended = true
	case err := <-served:
		failed = coded{exitFailed, fmt.Errorf("serve %s: %w", l.Addr(), err)}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		log.Warn("requests were broken off", "error", err)
		server.Close()
	}
	stop()
	if !ended {
		failed = errors.Join(failed, <-worked)
	}
	if p.close != nil {
		failed = errors.Join(failed, p.close())
	}
	if failed == nil {
		log.Info("stopped")
		return nil
	}
	var c coded
	if errors.As(failed, &c) {
		return failed
	}
	return coded{exitFailed, failed}
}
