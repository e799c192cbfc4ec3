package build

import (
	"strings"

	"github.com/builder-oci/builder/storage/cache"
)

// maxAligned bounds the work of align: the product of two lists' lengths.
const maxAligned = 4 << 20

// align gives for each of texts the step that stood in its place, or nil: one
// with the same text where the order allows it, and between those the next one
// of the same instruction. An edit of the Dockerfile moves what follows it.
func align(was []*cache.BuiltStep, texts []string) []*cache.BuiltStep {
	pairs := make([]*cache.BuiltStep, len(texts))
	from, to := 0, 0 // of the gap that begins behind the last pair of equals
	pair := func(old, now int) {
		alignGap(was[from:old], texts[to:now], pairs[to:now])
		if old < len(was) {
			pairs[now] = was[old]
		}
		from, to = old+1, now+1
	}
	for _, m := range equals(was, texts) {
		pair(m[0], m[1])
	}
	pair(len(was), len(texts))
	return pairs
}

// alignGap pairs what lies between two pairs of equals.
func alignGap(was []*cache.BuiltStep, texts []string, pairs []*cache.BuiltStep) {
	next := 0
	for i, text := range texts {
		for k := next; k < len(was); k++ {
			if keyword(was[k].Instruction) == keyword(text) {
				pairs[i], next = was[k], k+1
				break
			}
		}
	}
}

func keyword(instruction string) string {
	word, _, _ := strings.Cut(instruction, " ")
	return strings.ToUpper(word)
}

// equals gives the indexes of a longest common subsequence of both lists.
func equals(was []*cache.BuiltStep, texts []string) (pairs [][2]int) {
	n, m := len(was), len(texts)
	if n*m > maxAligned {
		for i := range min(n, m) {
			if was[i].Instruction == texts[i] {
				pairs = append(pairs, [2]int{i, i})
			}
		}
		return pairs
	}
	// length[i*(m+1)+k] is the longest of was[i:] and texts[k:].
	length := make([]int32, (n+1)*(m+1))
	for i := n - 1; i >= 0; i-- {
		for k := m - 1; k >= 0; k-- {
			at := i*(m+1) + k
			if was[i].Instruction == texts[k] {
				length[at] = length[at+m+2] + 1
			} else {
				length[at] = max(length[at+1], length[at+m+1])
			}
		}
	}
	for i, k := 0, 0; i < n && k < m; {
		at := i*(m+1) + k
		switch {
		case was[i].Instruction == texts[k]:
			pairs = append(pairs, [2]int{i, k})
			i, k = i+1, k+1
		case length[at+1] >= length[at+m+1]:
			k++
		default:
			i++
		}
	}
	return pairs
}
