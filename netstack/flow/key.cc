#include "netstack/flow/key.h"

#include <algorithm>

namespace cordon {
namespace {

constexpr std::size_t kPackedSize = 18;

void pack(const Endpoint& endpoint, std::uint8_t* out) {
  // An IPv4 address leaves the last twelve octets zero; no IPv6 unicast address of a flow does that
  // with the same first four, and equality decides anyway.
  std::ranges::copy(endpoint.address.octets(), out);
  out[16] = static_cast<std::uint8_t>(endpoint.port >> 8);
  out[17] = static_cast<std::uint8_t>(endpoint.port);
}

}  // namespace

std::uint64_t FlowKey::hash(const SipKey& key) const {
  std::array<std::uint8_t, 2 * kPackedSize> packed{};
  pack(guest, packed.data());
  pack(remote, packed.data() + kPackedSize);
  return siphash(key, packed);
}

std::uint64_t MappingKey::hash(const SipKey& key) const {
  return FlowKey{.guest = guest, .remote = name}.hash(key);
}

}  // namespace cordon
