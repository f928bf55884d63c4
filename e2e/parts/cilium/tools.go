//go:build parts

// The enforcing network of the development stack, pinned by this module's go.sum.
package parts

import (
	_ "github.com/cilium/cilium/daemon"
	_ "github.com/cilium/cilium/plugins/cilium-cni"
)
