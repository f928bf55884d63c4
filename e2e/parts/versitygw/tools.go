//go:build parts

// A server of S3 that keeps objects as files, pinned by this module's go.sum.
package parts

import _ "github.com/versity/versitygw/cmd/versitygw"
