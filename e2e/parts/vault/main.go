// HashiCorp Vault for the development stack's tests, minimal build. Never shipped: the product only speaks its API.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
