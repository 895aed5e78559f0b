//! The private network of a stack: a loopback that owns the Service addresses, and a resolver of its own.
//!
//! | range | who answers |
//! |---|---|
//! | 10.96.0.0/16 | Services; 10.96.0.1 is the API server, 10.96.0.10 the DNS server |
//! | 10.244.0.0/16 | fake pods: any process of the stack may bind their addresses |
//! | 10.245.0.0/16 | real pods: each has a network namespace of its own behind a veth pair |
//! | 192.0.2.10 | the node: kwok |

use std::{
    fs,
    io::Write,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Address of the API server, for processes and pods alike.
pub(crate) const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The DNS server that `/etc/resolv.conf` names.
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Address at which proxies find Envoy Gateway, which is not a pod.
pub(crate) const ENVOY_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 2);
/// Address of the only node, where kwok answers as its kubelet.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Range of Services.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// Range of the pods that kwok fakes.
pub(crate) const FAKE_PODS: &str = "10.244.0.0/16";
/// Address of the stack's end of every veth pair, which real pods send through.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);

/// Sets up the network and mount namespace that this process is in.
pub(crate) fn set_up(state: &Path) -> Result<()> {
    ip(
        &[],
        &format!(
            "link set lo up\n\
             route add local {SERVICES} dev lo\n\
             route add local {FAKE_PODS} dev lo\n\
             route add local {NODE} dev lo\n"
        ),
    )?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot forward between pods")?;
    fs::create_dir_all(state)?;
    mount(&["-t", "tmpfs", "-o", "mode=755", "stack"], state)?;
    let resolver = state.join("resolv.conf");
    fs::write(&resolver, self::resolver("default"))?;
    mount(&["--bind", &resolver.to_string_lossy()], Path::new("/etc/resolv.conf"))
}

/// Contents of `/etc/resolv.conf` for the pods of a namespace: a Service of their own is found by its short name.
pub(crate) fn resolver(namespace: &str) -> String {
    let search = format!("{namespace}.svc.cluster.local svc.cluster.local cluster.local");
    format!("nameserver {DNS}\nsearch {search}\noptions ndots:5\n")
}

/// Gives the network namespace of process `pid` the address `pod`, reachable from here and from other pods.
pub(crate) fn connect(pid: u32, number: u32, pod: Ipv4Addr) -> Result<()> {
    let here = format!("pod{number}");
    ip(
        &[],
        &format!(
            "link add {here} type veth peer name eth0 netns {pid}\n\
             address add {GATEWAY}/32 dev {here}\n\
             link set {here} up\n\
             route add {pod}/32 dev {here}\n"
        ),
    )?;
    let pid = pid.to_string();
    ip(
        &["nsenter", "--net", "--target", &pid],
        &format!(
            "link set lo up\n\
             address add {pod}/32 dev eth0\n\
             link set eth0 up\n\
             route add {GATEWAY} dev eth0\n\
             route add default via {GATEWAY}\n"
        ),
    )
}

/// The address of the `number`th real pod. The first ones are left out: 10.245.0.1 is the gateway.
pub(crate) fn pod_address(number: u32) -> Result<Ipv4Addr> {
    let last = u16::try_from(number + 10).context("no addresses are left for pods")?;
    let [high, low] = last.to_be_bytes();
    Ok(Ipv4Addr::new(10, 245, high, low))
}

/// Runs the lines of `batch` with `ip`.
fn ip(wrapper: &[&str], batch: &str) -> Result<()> {
    let line: Vec<_> = wrapper.iter().copied().chain(["ip", "-batch", "-"]).collect();
    let mut child = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} is missing; install it with: apt-get install iproute2 util-linux", line[0]))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(batch.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip failed: {}\nin: {batch}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn mount(arguments: &[&str], target: &Path) -> Result<()> {
    let output = Command::new("mount")
        .args(arguments)
        .arg(target)
        .output()
        .context("mount is missing; install it with: apt-get install mount")?;
    if !output.status.success() {
        bail!("cannot mount over {}: {}", target.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
