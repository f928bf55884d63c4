// The etcd server, as its own module so that `go build` can pin it: `go install` of etcd is refused (replace directives).
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
