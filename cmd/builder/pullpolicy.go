package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

// pullPolicy says when the registry is asked for a base image: docker's --pull,
// and buildah's --pull=POLICY.
type pullPolicy string

// The policies. builder always compares digests, so that buildah's newer and
// always are the same to it.
const (
	pullMissing pullPolicy = "missing"
	pullAlways  pullPolicy = "always"
	pullNever   pullPolicy = "never"
)

var errPullPolicy = errors.New("it can be always, newer, missing or never")

// Set is flag.Value's.
func (p *pullPolicy) Set(text string) error {
	switch text {
	case "true", "1", "always", "newer", "ifnewer":
		*p = pullAlways
	case "false", "0", "missing", "ifmissing":
		*p = pullMissing
	case "never":
		*p = pullNever
	default:
		return errPullPolicy
	}
	return nil
}

// String is flag.Value's.
func (p *pullPolicy) String() string { return string(*p) }

// pullFlag may stand without a value.
type pullFlag struct{ *cli.GenericFlag }

// TakesValue is about a value in the next word.
func (pullFlag) TakesValue() bool { return false }

func pullPolicyFlag() cli.Flag {
	policy := pullMissing
	return pullFlag{&cli.GenericFlag{
		Name: "pull", Value: &policy, Usage: "ask for newer bases; =POLICY: always, newer, missing, never",
	}}
}

func readPullPolicy(c *cli.Context) pullPolicy {
	if p, ok := c.Generic("pull").(*pullPolicy); ok {
		return *p
	}
	return pullMissing
}
