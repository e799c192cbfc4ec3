package main

import (
	"encoding/csv"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
)

// attestFlags are docker's about attestations, which builder doesn't make:
// taken where they say so, and refused where they ask for one.
func attestFlags() []cli.Flag {
	flags := []cli.Flag{&cli.StringSliceFlag{
		Name: "attest", Hidden: true, Usage: "`ATTESTATION`: taken where it asks for none",
		Action: func(_ *cli.Context, texts []string) error {
			for _, text := range texts {
				if err := refuseAttestation("attest", text); err != nil {
					return err
				}
			}
			return nil
		},
	}}
	for _, name := range []string{"provenance", "sbom"} {
		flags = append(flags, &cli.StringFlag{
			Name: name, Hidden: true, Usage: "`VALUE`: taken where it asks for none, such as false",
			Action: func(_ *cli.Context, text string) error { return refuseAttestation(name, text) },
		})
	}
	return append(flags, &cli.StringFlag{
		Name: "builder", Hidden: true, Usage: "`NAME` of docker's builder: taken where it is default",
		Action: func(_ *cli.Context, name string) error {
			if name == "" || name == "default" {
				return nil
			}
			return fault.New("leave it out", "--builder %s: builder has no instances to choose among, it builds by itself", name)
		},
	})
}

// refuseAttestation takes false, and attributes among which is disabled=true.
func refuseAttestation(flag, text string) error {
	if wanted, err := strconv.ParseBool(text); err == nil && !wanted && flag != "attest" {
		return nil
	}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return fault.New("write --provenance=false", "--%s %s can't be read: %w", flag, text, err)
	}
	for _, field := range fields {
		if value, ok := strings.CutPrefix(field, "disabled="); ok {
			if disabled, err := strconv.ParseBool(value); err == nil && disabled {
				return nil
			}
		}
	}
	remedy := "--" + flag + "=false"
	if flag == "attest" {
		remedy = "leave it out, or add disabled=true"
	}
	return fault.New(remedy, "--%s %s is not supported yet: builder makes images without attestations", flag, text)
}
