package reports

import _ "embed" // the schema is part of the program: `kirikae` can print it, and a test holds every result.json against it

//go:embed result.schema.json
var resultSchema string

// Schema is the JSON Schema of result.json.
func Schema() string { return resultSchema }
