// Package pathorder compares paths as a walk meets them: name by name, a
// directory before what is in it, and all that is in it before the name that
// follows. It isn't the order of the paths' bytes, in which "a-b" comes before
// "a/c".
package pathorder

// Compare orders two paths with slashes between their names, as [cmp.Compare]
// does values.
func Compare(a, b string) int {
	const stride = 16 // paths of one directory begin alike
	i, shorter := 0, min(len(a), len(b))
	for i+stride <= shorter && a[i:i+stride] == b[i:i+stride] {
		i += stride
	}
	for ; i < shorter; i++ {
		if a[i] != b[i] {
			return rank(a[i]) - rank(b[i])
		}
	}
	return len(a) - len(b)
}

// rank has the end of a name come before every byte that a name can have.
func rank(c byte) int {
	switch {
	case c == '/':
		return 0
	case c < '/':
		return int(c) + 1
	}
	return int(c)
}

// Beneath says whether a path is of something in a directory, at any depth. The
// root is "".
func Beneath(dir, path string) bool {
	return dir == "" && path != "" || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}
