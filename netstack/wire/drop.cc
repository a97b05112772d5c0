#include "netstack/wire/drop.h"

namespace cordon {

// NOLINTNEXTLINE(readability-function-size): a table, two lines for each reason
std::string_view drop_name(Drop drop) {
  switch (drop) {
    case Drop::kTruncated:
      return "truncated";
    case Drop::kBadEtherType:
      return "bad-ether-type";
    case Drop::kNotForUs:
      return "not-for-us";
    case Drop::kBadIpVersion:
      return "bad-ip-version";
    case Drop::kBadHeaderLength:
      return "bad-header-length";
    case Drop::kBadTotalLength:
      return "bad-total-length";
    case Drop::kBadIpChecksum:
      return "bad-ip-checksum";
    case Drop::kSourceRoute:
      return "source-route";
    case Drop::kBadExtensionHeader:
      return "bad-extension-header";
    case Drop::kBadTtl:
      return "bad-ttl";
    case Drop::kBadSource:
      return "bad-source";
    case Drop::kForeignSource:
      return "foreign-source";
    case Drop::kForeignMac:
      return "foreign-mac";
    case Drop::kBadTransportChecksum:
      return "bad-transport-checksum";
    case Drop::kBadTransportLength:
      return "bad-transport-length";
    case Drop::kBadTcpFlags:
      return "bad-tcp-flags";
    case Drop::kBadTcpOptions:
      return "bad-tcp-options";
    case Drop::kBadPort:
      return "bad-port";
    case Drop::kUnknownTransport:
      return "unknown-transport";
    case Drop::kUnknownIcmp:
      return "unknown-icmp";
    case Drop::kMulticast:
      return "multicast";
    case Drop::kFragmentHeld:
      return "fragment-held";
    case Drop::kFragmentOverlap:
      return "fragment-overlap";
    case Drop::kFragmentBad:
      return "fragment-bad";
    case Drop::kFragmentTimeout:
      return "fragment-timeout";
    case Drop::kFragmentNoRoom:
      return "fragment-no-room";
    case Drop::kBadArp:
      return "bad-arp";
    case Drop::kBadNdp:
      return "bad-ndp";
    case Drop::kDenied:
      return "denied";
    case Drop::kTcpNotSyn:
      return "tcp-not-syn";
    case Drop::kFlowLimit:
      return "flow-limit";
    case Drop::kHalfOpenLimit:
      return "half-open-limit";
    case Drop::kDestinationRate:
      return "destination-rate";
    case Drop::kBudget:
      return "budget";
    case Drop::kIcmpRate:
      return "icmp-rate";
    case Drop::kAwaitsName:
      return "awaits-name";
    case Drop::kNoHostResource:
      return "no-host-resource";
    case Drop::kTapFull:
      return "tap-full";
    case Drop::kUnknownPeer:
      return "unknown-peer";
    case Drop::kHostError:
      return "host-error";
    case Drop::kTooBig:
      return "too-big";
    case Drop::kCount:
      break;
  }
  return "unknown";
}

}  // namespace cordon
