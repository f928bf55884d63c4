//go:build parts

// The evaluator of network policies, pinned by this module's go.sum.
package parts

import _ "github.com/mattfenwick/cyclonus/cmd/cyclonus"
