package transport

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/types"
	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
)

// tagsPatience is how long a registry may take to list the tags of a repository:
// it may do that page by page.
const tagsPatience = 2 * time.Minute

// mostTagsMemory is what the list may take of memory: the library reads all of it,
// however much comes. errTagsTooMany is the error of one that takes more.
const mostTagsMemory = 256 << 20

var errTagsTooMany = errors.New("its list of tags has no end")

// Tags gives the tags that a repository has in its registry, or in the first
// mirror that answers.
func Tags(ctx context.Context, repository string, o Options) ([]string, error) {
	r, err := o.remote(repository)
	if err != nil {
		return nil, err
	}
	r.name = r.ref.DockerReference().Name() // not one tag is asked for
	tags, err := o.tags(ctx, r)
	if err != nil && strings.Contains(err.Error(), "invalid tag") { // the library looks at each
		return nil, fault.New("pull tags by their names; whoever keeps the registry has to mend its list", "%s: %w", repository, err)
	}
	if err != nil {
		return nil, o.explain(err, r)
	}
	if len(tags) == 0 {
		return nil, fault.New("", "%s: the repository has no tags", repository)
	}
	return tags, nil
}

func (o Options) tags(ctx context.Context, r *remote) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tagsPatience, fmt.Errorf("%w for %s", errSilent, tagsPatience))
	defer cancel()
	ctx, enough := withMemory(ctx, mostTagsMemory, errTagsTooMany)
	defer enough()
	sources, err := r.sources()
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := range sources {
		var tags []string
		err := o.retrying(o.reporter()).ask(ctx, func(ctx context.Context) (err error) {
			tags, err = docker.GetRepositoryTags(ctx, sources[i].sys, sources[i].ref)
			return err
		})
		if err == nil {
			return tags, nil
		}
		errs = append([]error{silence(ctx, err)}, errs...) // the registry's own goes first
	}
	if errors.Is(context.Cause(ctx), errTagsTooMany) {
		return nil, fault.New("pull tags by their names", "%s: the registry %s: %w", r.name, r.domain, errTagsTooMany)
	}
	return nil, errors.Join(errs...)
}

// withMemory gives a context that ends, for the cause why, when this process has
// come to use so many bytes more than now. The caller calls stop.
func withMemory(ctx context.Context, bytes uint64, why error) (_ context.Context, stop func()) {
	ctx, end := context.WithCancelCause(ctx)
	used := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	most, done := used()+bytes, make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(progressPause):
				if used() > most {
					end(why)
				}
			}
		}
	}()
	return ctx, func() {
		end(nil)
		<-done
	}
}

// sources gives the places to look for an image, mirrors first, as the library
// does where it pulls.
func (r *remote) sources() ([]remote, error) {
	named := r.ref.DockerReference()
	registry, err := sysregistriesv2.FindRegistry(r.sys, named.Name())
	if err != nil || registry == nil {
		return []remote{*r}, err
	}
	found, err := registry.PullSourcesFromReference(named)
	if err != nil {
		return nil, err
	}
	var sources []remote
	for _, s := range found {
		ref, err := docker.NewReference(s.Reference)
		if err != nil {
			return nil, err
		}
		sys := *r.sys
		if sys.DockerInsecureSkipTLSVerify == types.OptionalBoolUndefined {
			sys.DockerInsecureSkipTLSVerify = types.NewOptionalBool(s.Endpoint.Insecure)
		}
		if reference.Domain(s.Reference) != reference.Domain(named) {
			sys.DockerAuthConfig = nil // it is for the registry alone
		}
		sources = append(sources, remote{ref: ref, sys: &sys})
	}
	return sources, nil
}
