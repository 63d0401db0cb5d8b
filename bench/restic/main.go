// Answers which snapshots restic's forget keeps: a history and a policy on each line of standard input, as JSON.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"time"

	"github.com/restic/restic/internal/restic"
)

type question struct {
	Times []int64        `json:"times"`
	Keep  map[string]int `json:"keep"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var asked question
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			panic(err)
		}
		number := map[*restic.Snapshot]int{}
		var list restic.Snapshots
		for i, seconds := range asked.Times {
			one := &restic.Snapshot{Time: time.Unix(seconds, 0).UTC()}
			number[one] = i
			list = append(list, one)
		}
		keep, _, _ := restic.ApplyPolicy(list, restic.ExpirePolicy{
			Last: asked.Keep["last"], Daily: asked.Keep["daily"], Weekly: asked.Keep["weekly"],
			Monthly: asked.Keep["monthly"], Yearly: asked.Keep["yearly"],
		})
		kept := []int{}
		for _, one := range keep {
			kept = append(kept, number[one])
		}
		if err := out.Encode(kept); err != nil {
			panic(err)
		}
	}
}
