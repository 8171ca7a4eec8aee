package images

import "time"

// Options of resolving and building.
type Options struct {
	Table Table  // the zero value: the one that ships with the program
	Bin   string // folder of the static Linux programs that go into images: inside, paymentd
	Cache string // provisioned servers; "": the user's own
	// Say is told a line per step; nil: silent. It may be called from several goroutines, one at a time.
	Say func(line string)

	// Limits; the zero values are the ordinary ones.
	Answer time.Duration // how long a registry may take to say that it has an image: 2 s with auto, 10 s with official
	Pull   time.Duration // how long one pull may take: 10 minutes
}

// table is the options' table.
func (o Options) table() (Table, error) {
	if len(o.Table.Entries) > 0 {
		return o.Table, nil
	}
	return DefaultTable()
}
