// The registries as two tables, and the order in which registry, user and FIB have their say.
//
// An address passes three judges. The registry tables know what the standards say of it; the
// longest entry that holds it decides. The user may move prefixes (ClassOverride), but never out of
// self, metadata, loopback or multicast. The host's FIB knows what no table can: a local route
// makes any address `self`, whatever the other two said; a neighbour on a link is `lan`, and what
// leaves through a tunnel by a route of its own is `vpn`, unless the user declared the prefix to be
// lan or vpn. A private address that a tunnel's route claims is `vpn`, not `lan`: `@lan` must not
// open a company's network that happens to be dialled in.
//
// An address that carries another one is judged twice, and the worse class counts. The inner
// address is judged without a route, for the host asked its FIB about the outer one.
//
// IPv6 outside 2000::/3 is `reserved` where no entry says otherwise: IANA holds it back, so nothing
// there is globally reachable. Entries whose reachability IANA gives as "N/A" are reserved too, but
// for 6to4 and Teredo, where the addresses inside decide.

#include "netstack/address/classes.h"

#include <algorithm>
#include <array>

namespace cordon {
namespace {

struct ClassName {
  AddressClass address_class;
  std::string_view name;
};

constexpr std::array kClassNames{
    ClassName{AddressClass::kSelf, "self"},
    ClassName{AddressClass::kMetadata, "metadata"},
    ClassName{AddressClass::kLoopback, "loopback"},
    ClassName{AddressClass::kLinkLocal, "linklocal"},
    ClassName{AddressClass::kLan, "lan"},
    ClassName{AddressClass::kVpn, "vpn"},
    ClassName{AddressClass::kMulticast, "multicast"},
    ClassName{AddressClass::kReserved, "reserved"},
    ClassName{AddressClass::kPublic, "public"},
};

using Groups = std::array<std::uint16_t, 8>;

struct RegistryEntry {
  IpAddress first;
  unsigned length;
  AddressClass address_class;
};

constexpr RegistryEntry v4_entry(std::array<std::uint8_t, 4> octets, unsigned length,
                                 AddressClass address_class) {
  return {IpAddress::v4(octets), length, address_class};
}

constexpr RegistryEntry v6_entry(const Groups& groups, unsigned length,
                                 AddressClass address_class) {
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    octets[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8);
    octets[2 * i + 1] = static_cast<std::uint8_t>(groups[i]);
  }
  return {IpAddress::v6(octets), length, address_class};
}

// IANA IPv4 Special-Purpose Address Registry (RFC 6890, 8190), RFC 1112, and the clouds' metadata
// addresses. A more specific entry stands before the one that holds it.
constexpr std::array kV4Registry{
    v4_entry({169, 254, 169, 254}, 32, AddressClass::kMetadata),   // AWS, Azure, GCP and others
    v4_entry({169, 254, 170, 2}, 32, AddressClass::kMetadata),     // AWS ECS task credentials
    v4_entry({100, 100, 100, 200}, 32, AddressClass::kMetadata),   // Alibaba
    v4_entry({168, 63, 129, 16}, 32, AddressClass::kMetadata),     // Azure WireServer
    v4_entry({192, 0, 0, 192}, 32, AddressClass::kMetadata),       // Oracle
    v4_entry({255, 255, 255, 255}, 32, AddressClass::kMulticast),  // RFC 8190, RFC 919
    v4_entry({192, 0, 0, 9}, 32, AddressClass::kPublic),           // PCP anycast, RFC 7723
    v4_entry({192, 0, 0, 10}, 32, AddressClass::kPublic),          // TURN anycast, RFC 8155
    v4_entry({192, 0, 0, 0}, 24, AddressClass::kReserved),         // IETF protocol assignments
    v4_entry({192, 0, 2, 0}, 24, AddressClass::kReserved),         // TEST-NET-1, RFC 5737
    v4_entry({192, 88, 99, 0}, 24, AddressClass::kReserved),   // 6to4 relays, gone with RFC 7526
    v4_entry({198, 51, 100, 0}, 24, AddressClass::kReserved),  // TEST-NET-2
    v4_entry({203, 0, 113, 0}, 24, AddressClass::kReserved),   // TEST-NET-3
    v4_entry({169, 254, 0, 0}, 16, AddressClass::kLinkLocal),  // RFC 3927
    v4_entry({192, 168, 0, 0}, 16, AddressClass::kLan),        // RFC 1918
    v4_entry({198, 18, 0, 0}, 15, AddressClass::kReserved),    // benchmarking, RFC 2544
    v4_entry({172, 16, 0, 0}, 12, AddressClass::kLan),         // RFC 1918
    v4_entry({100, 64, 0, 0}, 10, AddressClass::kLan),         // shared space, RFC 6598
    v4_entry({0, 0, 0, 0}, 8, AddressClass::kSelf),            // "this network", RFC 791 3.2
    v4_entry({10, 0, 0, 0}, 8, AddressClass::kLan),            // RFC 1918
    v4_entry({127, 0, 0, 0}, 8, AddressClass::kLoopback),      // RFC 1122 3.2.1.3
    v4_entry({224, 0, 0, 0}, 4, AddressClass::kMulticast),     // RFC 5771
    v4_entry({240, 0, 0, 0}, 4, AddressClass::kReserved),      // RFC 1112 section 4
};

// IANA IPv6 Special-Purpose Address Registry and IPv6 address space registry.
constexpr std::array kV6Registry{
    v6_entry({0, 0, 0, 0, 0, 0, 0, 0}, 128, AddressClass::kSelf),
    v6_entry({0, 0, 0, 0, 0, 0, 0, 1}, 128, AddressClass::kLoopback),
    v6_entry({0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254}, 128, AddressClass::kMetadata),  // AWS
    v6_entry({0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254}, 128, AddressClass::kMetadata),  // GCP
    // OpenStack's metadata service, 169.254.169.254 as a link-local address.
    v6_entry({0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe}, 128, AddressClass::kMetadata),
    v6_entry({0x2001, 1, 0, 0, 0, 0, 0, 1}, 128, AddressClass::kPublic),        // PCP, RFC 7723
    v6_entry({0x2001, 1, 0, 0, 0, 0, 0, 2}, 128, AddressClass::kPublic),        // TURN, RFC 8155
    v6_entry({0x2001, 1, 0, 0, 0, 0, 0, 3}, 128, AddressClass::kPublic),        // SRP, RFC 9665
    v6_entry({0x0064, 0xff9b, 0, 0, 0, 0, 0, 0}, 96, AddressClass::kPublic),    // RFC 6052
    v6_entry({0x0064, 0xff9b, 1, 0, 0, 0, 0, 0}, 48, AddressClass::kReserved),  // RFC 8215
    v6_entry({0x2001, 4, 0x112, 0, 0, 0, 0, 0}, 48, AddressClass::kPublic),     // AS112, RFC 7535
    v6_entry({0x2001, 0, 0, 0, 0, 0, 0, 0}, 32, AddressClass::kPublic),         // Teredo, RFC 4380
    v6_entry({0x2001, 3, 0, 0, 0, 0, 0, 0}, 32, AddressClass::kPublic),         // AMT, RFC 7450
    v6_entry({0x2001, 0x20, 0, 0, 0, 0, 0, 0}, 28, AddressClass::kPublic),  // ORCHIDv2, RFC 7343
    v6_entry({0x2001, 0x30, 0, 0, 0, 0, 0, 0}, 28, AddressClass::kPublic),  // DRIP, RFC 9374
    // The rest of 2001::/23 (RFC 2928): benchmarking 2001:2::/48, ORCHID 2001:10::/28 and others.
    v6_entry({0x2001, 0, 0, 0, 0, 0, 0, 0}, 23, AddressClass::kReserved),
    v6_entry({0x2001, 0x0db8, 0, 0, 0, 0, 0, 0}, 32, AddressClass::kReserved),  // RFC 3849
    v6_entry({0x3fff, 0, 0, 0, 0, 0, 0, 0}, 20, AddressClass::kReserved),       // RFC 9637
    v6_entry({0xfe80, 0, 0, 0, 0, 0, 0, 0}, 10, AddressClass::kLinkLocal),      // RFC 4291
    v6_entry({0xfec0, 0, 0, 0, 0, 0, 0, 0}, 10, AddressClass::kLan),  // site-local, RFC 3879
    v6_entry({0xff00, 0, 0, 0, 0, 0, 0, 0}, 8, AddressClass::kMulticast),
    v6_entry({0xfc00, 0, 0, 0, 0, 0, 0, 0}, 7, AddressClass::kLan),  // RFC 4193
    // Global unicast. Around it IANA holds everything back: the mapped, discard (100::/64), dummy
    // (100:0:0:1::/64) and segment-routing (5f00::/16) prefixes of the registry lie there too.
    v6_entry({0x2000, 0, 0, 0, 0, 0, 0, 0}, 3, AddressClass::kPublic),
    v6_entry({0, 0, 0, 0, 0, 0, 0, 0}, 0, AddressClass::kReserved),
};

std::span<const RegistryEntry> registry_of(Family family) {
  if (family == Family::kIpv4) return kV4Registry;
  return kV6Registry;
}

// The longest entry that holds the address; none where it is ordinary IPv4 space.
const RegistryEntry* entry_of(const IpAddress& address) {
  for (const RegistryEntry& entry : registry_of(address.family())) {
    if (address.shares_bits(entry.first, entry.length)) return &entry;
  }
  return nullptr;
}

bool may_move(AddressClass address_class) {
  switch (address_class) {
    case AddressClass::kSelf:
    case AddressClass::kMetadata:
    case AddressClass::kLoopback:
    case AddressClass::kMulticast:
      return false;
    case AddressClass::kLinkLocal:
    case AddressClass::kLan:
    case AddressClass::kVpn:
    case AddressClass::kReserved:
    case AddressClass::kPublic:
      return true;
  }
  return false;
}

// True where the prefix lies in one reserved entry, and what other entries cut out of it is either
// immovable or a single public address.
bool is_reserved_throughout(const Prefix& prefix) {
  const RegistryEntry* const around = entry_of(prefix.address());
  if (around == nullptr || around->length > prefix.length()) return false;
  if (around->address_class != AddressClass::kReserved) return false;
  const auto may_be_inside = [&](const RegistryEntry& entry) {
    const bool is_inside = entry.length > prefix.length() && prefix.contains(entry.first);
    const bool is_one_address = entry.length == entry.first.bits();
    return !is_inside || entry.address_class == AddressClass::kReserved ||
           !may_move(entry.address_class) ||
           (entry.address_class == AddressClass::kPublic && is_one_address);
  };
  return std::ranges::all_of(registry_of(prefix.address().family()), may_be_inside);
}

// True where every address of `prefix` is of a class that never moves. A wider prefix may hold such
// addresses: they stay, and the rest of it moves.
bool is_immovable(const Prefix& prefix) {
  const RegistryEntry* const around = entry_of(prefix.address());
  return around != nullptr && around->length <= prefix.length() && !may_move(around->address_class);
}

// The class that the user declared, where one holds the address.
std::optional<AddressClass> declared_class(const IpAddress& address,
                                           std::span<const ClassOverride> overrides) {
  const ClassOverride* longest = nullptr;
  for (const ClassOverride& candidate : overrides) {
    if (!candidate.prefix.contains(address)) continue;
    if (longest == nullptr || candidate.prefix.length() > longest->prefix.length()) {
      longest = &candidate;
    }
  }
  if (longest == nullptr) return std::nullopt;
  return longest->address_class;
}

// What the FIB makes of an address that registry and user hold for `address_class`.
AddressClass class_by_route(AddressClass address_class, const RouteFacts& route) {
  if (route.type != RouteFacts::Type::kUnicast) return address_class;
  if (address_class == AddressClass::kLinkLocal) return address_class;
  // A full tunnel's default route (or its two or four pieces) changes no class.
  if (route.is_tunnel) return route.prefix_length > 2 ? AddressClass::kVpn : address_class;
  return route.is_on_link ? AddressClass::kLan : address_class;
}

AddressClass class_without_unwrapping(const IpAddress& address, const RouteFacts& route,
                                      std::span<const ClassOverride> overrides) {
  switch (route.type) {
    case RouteFacts::Type::kLocal:
    case RouteFacts::Type::kBroadcast:
    case RouteFacts::Type::kAnycast:
      return AddressClass::kSelf;
    case RouteFacts::Type::kUnicast:
    case RouteFacts::Type::kMulticast:
    case RouteFacts::Type::kUnreachable:
      break;
  }
  const AddressClass registered = registry_class(address);
  if (!may_move(registered)) return registered;
  if (route.type == RouteFacts::Type::kMulticast) return AddressClass::kMulticast;
  const std::optional<AddressClass> declared = declared_class(address, overrides);
  if (declared && *declared != AddressClass::kPublic) return *declared;
  return class_by_route(declared.value_or(registered), route);
}

AddressClass worse(AddressClass one, AddressClass other) { return std::min(one, other); }

bool begins_with(Bytes octets, std::initializer_list<std::uint8_t> head) {
  return std::equal(head.begin(), head.end(), octets.begin());
}

bool is_zero(Bytes octets) {
  return std::ranges::all_of(octets, [](std::uint8_t octet) { return octet == 0; });
}

void add_inner(Unwrapped& out, std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  out.inner[out.count++] = IpAddress::v4({a, b, c, d});
}

// 64:ff9b:1::/48 may be cut by its operator into any prefix of RFC 6052, and the address does not
// say which: every reading whose suffix and u octet are zero counts. A reading of 0.0.0.0/8 is the
// zeros of another one, and no translator would send there; it counts only where there is no other.
void unwrap_local_nat64(Bytes o, Unwrapped& out) {
  const auto add_reading = [&](std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    if (a != 0) add_inner(out, a, b, c, d);
  };
  if (!is_zero(o.subspan(12))) add_reading(o[12], o[13], o[14], o[15]);
  if (o[8] == 0 && is_zero(o.subspan(13))) {
    add_reading(o[9], o[10], o[11], o[12]);
    if (o[12] == 0) add_reading(o[7], o[9], o[10], o[11]);
    if (o[12] == 0 && o[11] == 0) add_reading(o[6], o[7], o[9], o[10]);
  }
  if (out.count == 0) add_inner(out, o[12], o[13], o[14], o[15]);
}

}  // namespace

std::string_view class_name(AddressClass address_class) {
  for (const ClassName& entry : kClassNames) {
    if (entry.address_class == address_class) return entry.name;
  }
  return "unknown";
}

std::optional<AddressClass> parse_class(std::string_view name) {
  for (const ClassName& entry : kClassNames) {
    if (entry.name == name) return entry.address_class;
  }
  return std::nullopt;
}

std::optional<std::string_view> refuse_override(const ClassOverride& candidate) {
  if (is_immovable(candidate.prefix)) {
    return "self, metadata, loopback and multicast addresses cannot be declared anything else";
  }
  switch (candidate.address_class) {
    case AddressClass::kLan:
    case AddressClass::kVpn:
      return std::nullopt;
    case AddressClass::kPublic:
      if (is_reserved_throughout(candidate.prefix)) return std::nullopt;
      return "only reserved prefixes can be declared public";
    case AddressClass::kSelf:
    case AddressClass::kMetadata:
    case AddressClass::kLoopback:
    case AddressClass::kLinkLocal:
    case AddressClass::kMulticast:
    case AddressClass::kReserved:
      break;
  }
  return "a prefix can be declared lan, vpn or public, and nothing else";
}

AddressClass classify(const IpAddress& address, const RouteFacts& route,
                      std::span<const ClassOverride> overrides) {
  AddressClass result = class_without_unwrapping(address, route, overrides);
  const Unwrapped unwrapped = unwrap(address);
  for (std::size_t i = 0; i < unwrapped.count; ++i) {
    result = worse(result, class_without_unwrapping(unwrapped.inner[i], RouteFacts{}, overrides));
  }
  return result;
}

AddressClass registry_class(const IpAddress& address) {
  const RegistryEntry* const entry = entry_of(address);
  return entry == nullptr ? AddressClass::kPublic : entry->address_class;
}

Unwrapped unwrap(const IpAddress& address) {
  Unwrapped out;
  if (address.is_v4() || address.is_unspecified() || address.is_loopback()) return out;
  const Bytes o = address.octets();
  const bool has_zero_head = is_zero(o.first(10));
  const bool is_compatible = has_zero_head && o[10] == 0 && o[11] == 0;    // RFC 4291 2.5.5.1
  const bool is_mapped = has_zero_head && o[10] == 0xff && o[11] == 0xff;  // RFC 4291 2.5.5.2
  const bool is_nat64 = begins_with(o, {0x00, 0x64, 0xff, 0x9b}) && is_zero(o.subspan(4, 8));
  if (is_compatible || is_mapped || is_nat64) {
    add_inner(out, o[12], o[13], o[14], o[15]);
    return out;
  }
  if (begins_with(o, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01})) {
    unwrap_local_nat64(o, out);
    return out;
  }
  if (begins_with(o, {0x20, 0x01, 0x00, 0x00})) {  // RFC 4380 section 4: server, then ~client
    add_inner(out, o[4], o[5], o[6], o[7]);
    add_inner(out, static_cast<std::uint8_t>(~o[12]), static_cast<std::uint8_t>(~o[13]),
              static_cast<std::uint8_t>(~o[14]), static_cast<std::uint8_t>(~o[15]));
    return out;
  }
  if (begins_with(o, {0x20, 0x02})) add_inner(out, o[2], o[3], o[4], o[5]);  // RFC 3056
  // RFC 5214 section 6.1, with the u and g bits as they may be.
  const bool is_isatap = (o[8] & 0xfc) == 0 && o[9] == 0 && o[10] == 0x5e && o[11] == 0xfe;
  if (is_isatap) add_inner(out, o[12], o[13], o[14], o[15]);
  return out;
}

}  // namespace cordon
