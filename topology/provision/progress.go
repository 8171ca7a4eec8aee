package provision

import "github.com/kirikae/kirikae/topology/tell"

// progress says what happens, with the time since provisioning began.
type progress struct{ *tell.Teller }

func newProgress(log func(string)) *progress { return &progress{tell.New(log)} }
