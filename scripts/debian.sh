# Sourced by what takes packages from Debian: where they are, and whose signature counts. Sets
# `mirror`, `security_mirror` (may be empty) and `keyring`; the caller defines `die`.
#
# FLOWTOP_DEBIAN_MIRROR  a Debian mirror   (the one this machine's apt uses)
# FLOWTOP_SECURITY_MIRROR  likewise for debian-security
# shellcheck shell=bash disable=SC2034 # they are for the caller

# debian_site LABEL: the mirror this machine's apt fetches Debian's LABEL archive from.
debian_site() {
    # shellcheck disable=SC2016 # $(SITE) is for apt-get to fill in
    apt-get indextargets --format '$(SITE)' 'Identifier: Packages' 'Origin: Debian' "Label: $1" 2>/dev/null |
        sort -u | head -n 1
}
mirror=${FLOWTOP_DEBIAN_MIRROR:-$(debian_site Debian)}
[ -n "$mirror" ] || die "this machine's apt names no Debian mirror.
  On Debian: run 'apt-get update' once. Elsewhere: install debian-archive-keyring and set
  FLOWTOP_DEBIAN_MIRROR (and FLOWTOP_SECURITY_MIRROR) to the URL of one."
security_mirror=${FLOWTOP_SECURITY_MIRROR:-$(debian_site Debian-Security)}

keyring=
for file in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
    [ ! -r "$file" ] || { keyring=$file; break; }
done
[ -n "$keyring" ] || die "Debian's signing keys are missing: apt-get install debian-archive-keyring"
