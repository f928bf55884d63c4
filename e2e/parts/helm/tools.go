//go:build parts

// The helm command, pinned by this module's go.sum.
package parts

import _ "helm.sh/helm/v4/cmd/helm"
