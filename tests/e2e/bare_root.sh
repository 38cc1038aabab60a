#!/bin/bash
# bare_root.sh [FOLDER]: ./run and ./test on a Debian that has nothing, as root and as a user. Needs root.
# A minimal root is made with debootstrap, this checkout is cloned into it as committed, everything runs inside with
# processes and mounts of its own. FOLDER keeps the bare root for the next time; without it all is temporary.
# The mirror is the one that this machine's own apt uses.
set -euo pipefail
top=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
what=${MAILHAUL_BARE:-all}   # run: only ./run; short: ./run as root and the quick part of ./test, once
if [ "$(id -u)" != 0 ]; then echo "SKIPPED bare_root: needs root"; exit 77; fi
if ! command -v debootstrap >/dev/null; then
  [ -z "${CI:-}" ] || { echo "bare_root: debootstrap is missing in CI" >&2; exit 1; }
  echo "SKIPPED bare_root: needs debootstrap (apt-get install debootstrap)"; exit 77
fi

folder=${1:-$(mktemp -d /tmp/mh-bare-XXXXXX)}
mkdir -p "$folder"
[ $# -gt 0 ] || trap 'rm -rf --one-file-system "$folder"' EXIT
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' | awk '$2 == "bookworm" {print $1; exit}')
[ -n "$mirror" ] || { echo "bare_root: apt names no bookworm mirror here" >&2; exit 1; }
if [ ! -e "$folder/base/etc/debian_version" ]; then
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  debootstrap --variant=minbase --keyring=$keyring bookworm "$folder/base.new" "$mirror" >"$folder/debootstrap.log" 2>&1 ||
    { tail -5 "$folder/debootstrap.log" >&2; exit 1; }
  mv "$folder/base.new" "$folder/base"
fi
root=$folder/root
rm -rf --one-file-system "$root"
cp -a "$folder/base" "$root"
GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' git clone -q --no-hardlinks "$top" "$root/src"
[ ! -e /etc/apt/apt.conf ] || cp /etc/apt/apt.conf "$root/etc/apt/"
rm -f "$root/etc/resolv.conf"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true

cat >"$root/inside.sh" <<'INSIDE'
set -eu
quiet() {  # nobody is left running: this shell and what ran before it are all there is
  for p in /proc/[0-9]*; do
    p=${p#/proc/}
    [ "$p" = 1 ] || [ "$p" = $$ ] || [ ! -s "/proc/$p/cmdline" ] ||
      { echo "left running: $(tr '\0' ' ' <"/proc/$p/cmdline")"; exit 1; }
  done
}
echo "== ./run, from another folder, with nothing installed"; cd /; /src/run; /src/run stop; quiet
[ ! -e /usr/sbin/policy-rc.d ] || { echo "policy-rc.d was left behind"; exit 1; }
echo "== ./run once more"; /src/run; /src/run; /src/run stop; quiet
if [ "$1" = short ]; then echo "== ./test dev"; cd /src; ./test dev; quiet; echo "bare root: all well (short)"; exit; fi
echo "== ./run as a user"; useradd -m user; cp -r /src /home/user/src; rm -rf /home/user/src/demo /home/user/src/build
chown -R user: /home/user/src; su user -c "cd && src/run && src/run && src/run stop"; quiet
[ "$1" = run ] || { echo "== ./test"; cd /src; ./test; quiet; ./test; quiet; }
echo "bare root: all well"
INSIDE
# A mount and a process namespace: whatever happens inside ends with it.
unshare --mount --propagation private --pid --fork --kill-child sh -c '
  r=$1; what=$2
  mount -t proc proc "$r/proc"; mount -t tmpfs t "$r/run"; mount -t tmpfs -o mode=755 t "$r/dev"
  for n in null zero full random urandom tty; do touch "$r/dev/$n"; mount --bind "/dev/$n" "$r/dev/$n"; done
  mkdir "$r/dev/pts" "$r/dev/shm"; mount -t devpts -o newinstance,ptmxmode=666 d "$r/dev/pts"; mount -t tmpfs t "$r/dev/shm"
  ln -s pts/ptmx "$r/dev/ptmx"; ln -s /proc/self/fd "$r/dev/fd"
  exec chroot "$r" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} bash /inside.sh "$what"' \
  sh "$root" "$what" </dev/null
