package stage

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

// rules is the version of the rules by which keys are made. It is part of
// every key: a change of what a key covers must change it.
const rules = 3

// keyOf hashes what decides the result of a step: its kind and its inputs, in
// their order. Names and values are length-prefixed, so that no two lists of
// inputs look alike.
func keyOf(kind string, inputs []cache.Input) digest.Digest {
	h := sha256.New()
	writeField(h, fmt.Sprintf("builder step %d", rules))
	writeField(h, kind)
	for _, in := range inputs {
		writeField(h, in.Name)
		writeField(h, in.Value)
	}
	return digest.NewDigest(digest.SHA256, h)
}

func writeField(h hash.Hash, s string) {
	_, _ = fmt.Fprintf(h, "%d:", len(s))
	_, _ = io.WriteString(h, s)
}

// resultOf names the outcome of one execution of the step with this key. Two
// executions of one step are two results: what was built upon the first must
// not be taken for something that was built upon the second.
func resultOf(key digest.Digest) digest.Digest {
	return keyOf("result", []cache.Input{{Name: "step", Value: key.String()}, {Name: "run", Value: rand.Text()}})
}

// envInput gives an environment variable as an input: its value only as a
// digest, since build arguments and ENV may hold what nobody should read in a
// record.
func envInput(prefix, name, value string) cache.Input {
	return cache.Input{Name: prefix + name, Value: digest.FromString(value).String()}
}

// ShortID is the short form of a digest that users see.
func ShortID(key digest.Digest) string { return key.Encoded()[:12] }
