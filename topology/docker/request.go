package docker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/images"
)

// copied is a file that is put into a container after its creation.
type copied struct {
	from string // path on this machine; "": content
	text string
	path string
	mode int64
}

// request is what testcontainers is told to make of a container of a world. Nothing waits in it: readiness is read from the
// products themselves.
func request(world, parent string, image images.Resolved, c containers.Container, files []copied, after func(ctx context.Context, id string) error) (testcontainers.GenericContainerRequest, error) {
	var none testcontainers.GenericContainerRequest
	if c.Pod == "" && len(c.Networks) == 0 && !c.Offline {
		return none, fmt.Errorf("container %s is on no network", c.Name)
	}
	if c.Pod == "" && len(c.Ports) == 0 && !c.Offline {
		// testcontainers publishes whatever the image exposes, on every address of the machine, when it is told of no port.
		return none, fmt.Errorf("container %s publishes no port", c.Name)
	}
	exposed, bindings, err := bind(c.Ports)
	if err != nil {
		return none, fmt.Errorf("publish the ports of %s: %w", c.Name, err)
	}
	// By its full name: a short one would be looked for below a mirror's, where the user has set one.
	named, err := reference.ParseNormalizedNamed(image.Reference)
	if err != nil {
		return none, fmt.Errorf("container %s: read the image's name %s: %w", c.Name, image.Reference, err)
	}
	r := testcontainers.ContainerRequest{
		Name: containers.FullName(world, c.Name), Image: named.String(), Entrypoint: c.Entrypoint, Cmd: c.Args, Env: c.Env, Labels: c.Labels, ExposedPorts: exposed,
		ConfigModifier: func(x *container.Config) {
			x.Image = image.ID // exactly the one that the report names
			x.User = cmp.Or(c.User, image.User)
			x.Hostname = c.Name
			if c.Pod != "" {
				x.Hostname = "" // the pod's
			}
			x.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}} // an image's own one would start a program every few seconds
		},
		HostConfigModifier: func(h *container.HostConfig) {
			h.PortBindings, h.CapAdd, h.Sysctls, h.CgroupParent = bindings, c.Caps, c.Sysctls, parent
			for _, v := range c.Volumes {
				o := &mount.VolumeOptions{Labels: withSession(c.Labels)}
				if v.Memory {
					o.DriverConfig = &mount.Driver{Name: "local", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}}
				}
				h.Mounts = append(h.Mounts, mount.Mount{
					Type: mount.TypeVolume, Source: containers.VolumeName(world, cmp.Or(v.Of, c.Name), v), Target: v.Path, VolumeOptions: o,
				})
			}
			if c.Offline {
				h.NetworkMode = "none"
			} else if c.Pod != "" {
				h.NetworkMode = container.NetworkMode("container:" + containers.FullName(world, c.Pod))
			} else {
				h.NetworkMode = container.NetworkMode(containers.NetworkName(world, c.Networks[0].Site))
			}
		},
	}
	if c.Pod == "" && !c.Offline {
		first, ip, err := endpoint(world, c.Networks[0])
		if err != nil {
			return none, fmt.Errorf("container %s: %w", c.Name, err)
		}
		r.Networks = []string{first}
		r.EndpointSettingsModifier = func(m map[string]*network.EndpointSettings) {
			if m[first] == nil { // testcontainers did not see the network
				m[first] = &network.EndpointSettings{}
			}
			m[first].IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: ip}
		}
	}
	r.LifecycleHooks = []testcontainers.ContainerLifecycleHooks{{PostCreates: []testcontainers.ContainerHook{
		func(ctx context.Context, x testcontainers.Container) error { return after(ctx, x.GetContainerID()) },
	}}}
	for _, f := range files {
		cf := testcontainers.ContainerFile{ContainerFilePath: f.path, FileMode: f.mode, HostFilePath: f.from}
		if f.from == "" {
			cf.Reader = strings.NewReader(f.text)
		}
		r.Files = append(r.Files, cf)
	}
	return testcontainers.GenericContainerRequest{ContainerRequest: r, Logger: quiet{}}, nil
}

// cgroupParent is the control group that a world's containers are put below; "" is the engine's own choice.
//
// An engine that makes the groups itself puts all containers into one, and the kernel gives that one as much of the CPU as it gives to
// any single session beside it: a dozen servers and the customers' app nodes together get no more than the engine that starts a
// container, and they stall for as long as that takes. Below the root each has a share of its own, as processes have. systemd's slices
// stand side by side already.
func cgroupParent(cgroups string) string {
	if cgroups == "cgroupfs" {
		return "/"
	}
	return ""
}

// quiet is a logger for a library that tells the user what it does.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// withSession adds what testcontainers' reaper goes by, where there is one.
func withSession(labels map[string]string) map[string]string {
	all := testcontainers.GenericLabels()
	for k, v := range labels {
		all[k] = v
	}
	return all
}

func endpoint(world string, a containers.Attachment) (name string, ip netip.Addr, err error) {
	ip, err = netip.ParseAddr(a.IP)
	return containers.NetworkName(world, a.Site), ip, err
}

// complete does what cannot be told in the call that creates a container: more than one network is refused there below API
// 1.44, and a new volume belongs to root unless the image has a folder in its place.
func complete(ctx context.Context, c *client.Client, world, id, user string, x containers.Container) error {
	if x.Pod == "" && !x.Offline {
		for _, a := range x.Networks[1:] {
			name, ip, err := endpoint(world, a)
			if err != nil {
				return err
			}
			_, err = c.NetworkConnect(ctx, name, client.NetworkConnectOptions{Container: id,
				EndpointConfig: &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: ip}}})
			if err != nil {
				return fmt.Errorf("connect it to network %s: %w", name, err)
			}
		}
	}
	var folders []string
	for _, v := range x.Volumes {
		if v.Of == "" {
			folders = append(folders, v.Path)
		}
	}
	if len(folders) == 0 {
		return nil
	}
	in, err := owned(folders, user)
	if err == nil {
		_, err = c.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: "/", Content: in})
	}
	if err != nil {
		return fmt.Errorf("give %s its volumes: %w", user, err)
	}
	return nil
}

// bind publishes ports on exactly the given addresses of the machine, which have to be its own loopback: anything else would be
// a way from one region's containers into the other's.
func bind(ports []containers.Port) ([]string, network.PortMap, error) {
	var exposed []string
	m := network.PortMap{}
	for _, p := range ports {
		ip, err := netip.ParseAddr(p.HostIP)
		if err != nil {
			return nil, nil, err
		}
		if !ip.IsLoopback() {
			return nil, nil, fmt.Errorf("%s is no loopback address", ip)
		}
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			return nil, nil, fmt.Errorf("protocol %q is neither tcp nor udp", p.Protocol)
		}
		name := strconv.Itoa(p.Container) + "/" + p.Protocol
		at, err := network.ParsePort(name)
		if err != nil {
			return nil, nil, err
		}
		if _, ok := m[at]; !ok {
			exposed = append(exposed, name)
		}
		m[at] = append(m[at], network.PortBinding{HostIP: ip, HostPort: strconv.Itoa(p.HostPort)})
	}
	return exposed, m, nil
}

// readFile reads a file of one container, which need not run.
func readFile(ctx context.Context, c *client.Client, name, path string, to io.Writer) error {
	r, err := c.CopyFromContainer(ctx, name, client.CopyFromContainerOptions{SourcePath: path})
	if err != nil {
		return err
	}
	defer r.Content.Close()
	return untar(r.Content, to)
}
