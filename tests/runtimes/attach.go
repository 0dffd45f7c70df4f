// A runtime on libcni, as small as can be: attach add|check|del FILE NETNS CONTAINER-ID CACHE PLUGINS
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	verb, file, netns, id, cache, plugins := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]
	network, err := libcni.ConfListFromFile(file)
	if err == nil {
		cni := libcni.NewCNIConfigWithCacheDir([]string{plugins}, cache, nil)
		attachment := &libcni.RuntimeConf{ContainerID: id, NetNS: netns, IfName: "eth0"}
		switch verb {
		case "add":
			_, err = cni.AddNetworkList(context.Background(), network, attachment)
		case "check":
			err = cni.CheckNetworkList(context.Background(), network, attachment)
		case "del":
			err = cni.DelNetworkList(context.Background(), network, attachment)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
