// Package features embeds the drills: Gherkin only, one file a drill.
package features

import "embed"

// FS holds the feature files, by name.
//
//go:embed *.feature
var FS embed.FS
