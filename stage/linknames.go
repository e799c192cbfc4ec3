package stage

// linkNames finds the names of one file among a selection's entries. Only those
// that have others, there or elsewhere, take memory.
type linkNames struct {
	seen map[FileID]int
	// links leads from the places of further names to that of the first, firsts
	// has those.
	links  map[int]int
	firsts map[int]bool
}

// isFurther says whether an entry is another name of an earlier one.
func (n *linkNames) isFurther(f *File) bool {
	if f.ID == (FileID{}) {
		return false
	}
	if n.seen == nil {
		n.seen, n.links, n.firsts = map[FileID]int{}, map[int]int{}, map[int]bool{}
	}
	first, ok := n.seen[f.ID]
	if !ok {
		n.seen[f.ID] = f.place
		return false
	}
	n.links[f.place], n.firsts[first] = first, true
	return true
}
