//go:build parts

// Where the kinds of others come from that tests install: Gateway API and volume snapshots, pinned by this module's
// go.sum. Their Go code is not built.
package parts

import (
	_ "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
