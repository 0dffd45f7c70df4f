// Prints, as one JSON object, what libcni makes of each file of a folder, and which file it finds for a name.
package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

func load(file string) (*libcni.NetworkConfigList, error) {
	if strings.HasSuffix(file, ".conflist") {
		return libcni.ConfListFromFile(file)
	}
	conf, err := libcni.ConfFromFile(file)
	if err != nil {
		return nil, err
	}
	return libcni.ConfListFromConf(conf)
}

func main() {
	folder, name := os.Args[1], os.Args[2]
	files, err := libcni.ConfFiles(folder, []string{".conf", ".conflist", ".json"})
	if err != nil {
		panic(err)
	}
	found := map[string]interface{}{}
	for _, file := range files {
		base := filepath.Base(file)
		list, err := load(file)
		if err != nil || len(list.Plugins) == 0 || list.Plugins[0].Network.Type == "" {
			found[base] = nil
			continue
		}
		types := []string{}
		for _, plugin := range list.Plugins {
			types = append(types, plugin.Network.Type)
		}
		found[base] = []interface{}{list.Name, types}
	}
	list, err := libcni.LoadConfList(folder, name)
	chosen := err == nil && len(list.Plugins) > 0
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"files": found, "found": chosen})
}
