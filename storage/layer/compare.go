package layer

// Compare is what stands in the layer whose full tree is dir, a copy of the
// parent's that was changed since: base is what [CopyTree] or [NoteBase] gave.
// The directory must not change during a Walk, which closes parent as one of
// [Upper] does.
func Compare(dir string, base *Base, parent *Tree, o UpperOptions) Source {
	o.Flavor = VFS
	return &changes{dir: dir, parent: parent, o: o, base: base}
}
