#include "netstack/address/classes.h"

#include <functional>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace cordon {

// For the failure messages of GoogleTest.
void PrintTo(AddressClass address_class, std::ostream* out) { *out << class_name(address_class); }

namespace {

constexpr auto kSelf = AddressClass::kSelf;
constexpr auto kMetadata = AddressClass::kMetadata;
constexpr auto kLoopback = AddressClass::kLoopback;
constexpr auto kLinkLocal = AddressClass::kLinkLocal;
constexpr auto kLan = AddressClass::kLan;
constexpr auto kVpn = AddressClass::kVpn;
constexpr auto kMulticast = AddressClass::kMulticast;
constexpr auto kReserved = AddressClass::kReserved;
constexpr auto kPublic = AddressClass::kPublic;

constexpr std::array kAllClasses{kSelf, kMetadata,  kLoopback, kLinkLocal, kLan,
                                 kVpn,  kMulticast, kReserved, kPublic};

IpAddress address(std::string_view text) {
  const std::optional<IpAddress> parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(IpAddress());
}

Prefix prefix(std::string_view text) {
  const std::optional<Prefix> parsed = Prefix::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(Prefix());
}

// The neighbour of an address, `step` being 1 or -1; nullopt beyond the end of the space.
std::optional<IpAddress> neighbour(const IpAddress& from, int step) {
  std::vector<std::uint8_t> octets(from.octets().begin(), from.octets().end());
  for (std::size_t i = octets.size(); i-- > 0;) {
    const int sum = octets[i] + step;
    octets[i] = static_cast<std::uint8_t>(sum);
    if (sum >= 0 && sum <= 255) return IpAddress::from_octets(octets);
  }
  return std::nullopt;
}

IpAddress with_host_bits(const Prefix& network, const std::function<std::uint8_t()>& octet) {
  std::vector<std::uint8_t> octets(network.address().octets().begin(),
                                   network.address().octets().end());
  for (std::size_t bit = network.length(); bit < octets.size() * 8; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80 >> (bit % 8));
    if ((octet() & 1) != 0) octets[bit / 8] |= mask;
  }
  return IpAddress::from_octets(octets);
}

struct RegistryRow {
  const char* prefix;
  AddressClass inside;
  AddressClass before;  // of the address just before the prefix; of no meaning at the start
  AddressClass after;   // of the address just behind it; of no meaning at the end
};

// IANA IPv4 special-purpose registry (RFC 6890 and its updates).
constexpr RegistryRow kV4Rows[] = {
    {"0.0.0.0/8", kSelf, kPublic, kPublic},
    {"1.0.0.0/8", kPublic, kSelf, kPublic},
    {"10.0.0.0/8", kLan, kPublic, kPublic},
    {"100.64.0.0/10", kLan, kPublic, kPublic},
    {"100.100.100.200/32", kMetadata, kLan, kLan},
    {"127.0.0.0/8", kLoopback, kPublic, kPublic},
    {"168.63.129.16/32", kMetadata, kPublic, kPublic},
    {"169.254.0.0/17", kLinkLocal, kPublic, kLinkLocal},
    {"169.254.169.254/32", kMetadata, kLinkLocal, kLinkLocal},
    {"169.254.170.2/32", kMetadata, kLinkLocal, kLinkLocal},
    {"169.254.192.0/18", kLinkLocal, kLinkLocal, kPublic},
    {"172.16.0.0/12", kLan, kPublic, kPublic},
    {"192.0.0.0/29", kReserved, kPublic, kReserved},
    {"192.0.0.8/32", kReserved, kReserved, kPublic},
    {"192.0.0.9/32", kPublic, kReserved, kPublic},
    {"192.0.0.10/32", kPublic, kPublic, kReserved},
    {"192.0.0.170/31", kReserved, kReserved, kReserved},
    {"192.0.0.192/32", kMetadata, kReserved, kReserved},
    {"192.0.0.224/27", kReserved, kReserved, kPublic},
    {"192.0.2.0/24", kReserved, kPublic, kPublic},
    {"192.31.196.0/24", kPublic, kPublic, kPublic},
    {"192.52.193.0/24", kPublic, kPublic, kPublic},
    {"192.88.99.0/24", kReserved, kPublic, kPublic},
    {"192.168.0.0/16", kLan, kPublic, kPublic},
    {"192.175.48.0/24", kPublic, kPublic, kPublic},
    {"198.18.0.0/15", kReserved, kPublic, kPublic},
    {"198.51.100.0/24", kReserved, kPublic, kPublic},
    {"203.0.113.0/24", kReserved, kPublic, kPublic},
    {"224.0.0.0/4", kMulticast, kPublic, kReserved},
    {"240.0.0.0/5", kReserved, kMulticast, kReserved},
    {"255.255.255.254/32", kReserved, kReserved, kMulticast},
    {"255.255.255.255/32", kMulticast, kReserved, kPublic},
};

// IANA IPv6 special-purpose registry and address space registry.
constexpr RegistryRow kV6Rows[] = {
    {"::/128", kSelf, kPublic, kLoopback},
    {"::1/128", kLoopback, kSelf, kReserved},
    {"::ffff:0:0/96", kReserved, kReserved, kReserved},
    {"64:ff9b::/96", kPublic, kReserved, kReserved},
    {"64:ff9b:1::/48", kReserved, kReserved, kReserved},
    {"100::/64", kReserved, kReserved, kReserved},
    {"100:0:0:1::/64", kReserved, kReserved, kReserved},
    {"200::/7", kReserved, kReserved, kReserved},
    {"2000::/16", kPublic, kReserved, kPublic},
    {"2001::/32", kPublic, kPublic, kReserved},
    {"2001:1::1/128", kPublic, kReserved, kPublic},
    {"2001:1::2/128", kPublic, kPublic, kPublic},
    {"2001:1::3/128", kPublic, kPublic, kReserved},
    {"2001:2::/48", kReserved, kReserved, kReserved},
    {"2001:3::/32", kPublic, kReserved, kReserved},
    {"2001:4:112::/48", kPublic, kReserved, kReserved},
    {"2001:10::/28", kReserved, kReserved, kPublic},
    {"2001:20::/28", kPublic, kReserved, kPublic},
    {"2001:30::/28", kPublic, kPublic, kReserved},
    {"2001:40::/26", kReserved, kPublic, kReserved},
    {"2001:100::/24", kReserved, kReserved, kPublic},
    {"2001:200::/23", kPublic, kReserved, kPublic},
    {"2001:db8::/32", kReserved, kPublic, kPublic},
    {"2002::/16", kPublic, kPublic, kPublic},
    {"2400::/12", kPublic, kPublic, kPublic},
    {"2600::/12", kPublic, kPublic, kPublic},
    {"2620:4f:8000::/48", kPublic, kPublic, kPublic},
    {"2800::/12", kPublic, kPublic, kPublic},
    {"2a00::/12", kPublic, kPublic, kPublic},
    {"2c00::/12", kPublic, kPublic, kPublic},
    {"3ffe::/16", kPublic, kPublic, kReserved},
    {"3fff::/20", kReserved, kPublic, kPublic},
    {"3fff:f000::/20", kPublic, kPublic, kReserved},
    {"4000::/3", kReserved, kPublic, kReserved},
    {"5f00::/16", kReserved, kReserved, kReserved},
    {"e000::/4", kReserved, kReserved, kReserved},
    {"fc00::/8", kLan, kReserved, kLan},
    {"fd00:ec2::254/128", kMetadata, kLan, kLan},
    {"fd20:ce::254/128", kMetadata, kLan, kLan},
    {"fd80::/9", kLan, kLan, kReserved},
    {"fe00::/9", kReserved, kLan, kLinkLocal},
    {"fe80::/64", kLinkLocal, kReserved, kLinkLocal},
    {"fe80::a9fe:a9fe/128", kMetadata, kLinkLocal, kLinkLocal},
    {"febf::/16", kLinkLocal, kLinkLocal, kLan},
    {"fec0::/10", kLan, kLinkLocal, kMulticast},
    {"ff00::/8", kMulticast, kLan, kPublic},
    {"ff02::/16", kMulticast, kMulticast, kMulticast},
};

std::size_t check_rows(std::span<const RegistryRow> rows) {
  std::mt19937 random(6890);
  std::size_t vectors = 0;
  const auto expect = [&](const IpAddress& candidate, AddressClass expected, const char* row) {
    EXPECT_EQ(registry_class(candidate), expected) << row << ": " << candidate.to_string();
    ++vectors;
  };
  for (const RegistryRow& row : rows) {
    const Prefix network = prefix(row.prefix);
    const IpAddress last = with_host_bits(network, [] { return std::uint8_t{1}; });
    const IpAddress inside =
        with_host_bits(network, [&] { return static_cast<std::uint8_t>(random()); });
    expect(network.address(), row.inside, row.prefix);
    expect(last, row.inside, row.prefix);
    expect(inside, row.inside, row.prefix);
    const auto before = neighbour(network.address(), -1);
    const auto after = neighbour(last, 1);
    if (before) expect(*before, row.before, row.prefix);
    if (after) expect(*after, row.after, row.prefix);
  }
  return vectors;
}

TEST(RegistryClass, V4RegistryAndItsBorders) { EXPECT_GE(check_rows(kV4Rows), 150U); }

TEST(RegistryClass, V6RegistryAndItsBorders) { EXPECT_GE(check_rows(kV6Rows), 200U); }

// Written as the classes table is written, without the tables of the code.
AddressClass expected_of_16(unsigned a, unsigned b) {
  if (a == 0) return kSelf;
  if (a == 127) return kLoopback;
  if (a == 169 && b == 254) return kLinkLocal;
  if (a == 10 || (a == 172 && b / 16 == 1) || (a == 192 && b == 168)) return kLan;
  if (a == 100 && b / 64 == 1) return kLan;
  if (a >= 224 && a < 240) return kMulticast;
  if (a >= 240 || (a == 198 && b / 2 == 9)) return kReserved;
  return kPublic;
}

TEST(RegistryClass, EveryV4PrefixOfSixteenBits) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const IpAddress candidate = IpAddress::v4((a << 24) | (b << 16) | 0x4d21U);
      ASSERT_EQ(registry_class(candidate), expected_of_16(a, b)) << candidate.to_string();
      ASSERT_EQ(classify(candidate, RouteFacts{}, {}), expected_of_16(a, b));
    }
  }
}

TEST(RegistryClass, NamesReadBack) {
  for (const AddressClass candidate : kAllClasses) {
    EXPECT_EQ(parse_class(class_name(candidate)), candidate);
  }
  EXPECT_EQ(parse_class("LAN"), std::nullopt);
  EXPECT_EQ(parse_class(""), std::nullopt);
  EXPECT_EQ(parse_class("unknown"), std::nullopt);
}

// ---- addresses that carry another one

constexpr const char* kInnerAddresses[] = {
    "0.1.2.3",         "169.254.169.254", "127.0.0.1",    "127.9.9.9",  "169.254.7.7",
    "10.1.2.3",        "172.31.255.254",  "192.168.77.1", "100.64.1.1", "224.0.0.251",
    "239.255.255.250", "255.255.255.255", "198.51.100.7", "198.18.9.9", "240.1.1.1",
    "100.100.100.200", "168.63.129.16",   "9.9.9.9",      "1.1.1.1",    "192.0.0.192",
};

struct Wrapper {
  const char* name;
  std::array<std::uint8_t, 16> (*wrap)(Bytes inner);
  AddressClass outer;
};

std::array<std::uint8_t, 16> put(std::string_view base, Bytes inner,
                                 std::initializer_list<std::size_t> places) {
  std::array<std::uint8_t, 16> octets{};
  const IpAddress outer = address(base);
  std::copy(outer.octets().begin(), outer.octets().end(), octets.begin());
  std::size_t i = 0;
  for (const std::size_t place : places) octets[place] = inner[i++];
  return octets;
}

// RFC 6052 section 2.2 has the figure for the places at each prefix length.
const Wrapper kWrappers[] = {
    {"mapped",
     [](Bytes in) {
       return put("::ffff:0:0", in, {12, 13, 14, 15});
     },
     kReserved},
    {"compatible",
     [](Bytes in) {
       return put("::", in, {12, 13, 14, 15});
     },
     kReserved},
    {"nat64",
     [](Bytes in) {
       return put("64:ff9b::", in, {12, 13, 14, 15});
     },
     kPublic},
    {"local nat64 /96",
     [](Bytes in) {
       return put("64:ff9b:1:fffe:fd:fcfb::", in, {12, 13, 14, 15});
     },
     kReserved},
    {"local nat64 /96 of zeros",
     [](Bytes in) {
       return put("64:ff9b:1::", in, {12, 13, 14, 15});
     },
     kReserved},
    {"local nat64 /64",
     [](Bytes in) {
       return put("64:ff9b:1:42::", in, {9, 10, 11, 12});
     },
     kReserved},
    {"local nat64 /56",
     [](Bytes in) {
       return put("64:ff9b:1:4200::", in, {7, 9, 10, 11});
     },
     kReserved},
    {"local nat64 /48",
     [](Bytes in) {
       return put("64:ff9b:1::", in, {6, 7, 9, 10});
     },
     kReserved},
    {"6to4",
     [](Bytes in) {
       return put("2002::1", in, {2, 3, 4, 5});
     },
     kPublic},
    {"teredo server",
     [](Bytes in) {
       return put("2001::f6f6:f6f6", in, {4, 5, 6, 7});
     },
     kPublic},
    {"teredo client",
     [](Bytes in) {
       std::array<std::uint8_t, 16> octets = put("2001:0:909:909::", in, {12, 13, 14, 15});
       for (std::size_t i = 12; i < 16; ++i) octets[i] = static_cast<std::uint8_t>(~octets[i]);
       return octets;
     },
     kPublic},
    {"isatap",
     [](Bytes in) {
       return put("2a00:1:2:3:0:5efe::", in, {12, 13, 14, 15});
     },
     kPublic},
    {"isatap with u",
     [](Bytes in) {
       return put("2a00:1:2:3:200:5efe::", in, {12, 13, 14, 15});
     },
     kPublic},
    {"isatap with u and g",
     [](Bytes in) {
       return put("2a00:1:2:3:300:5efe::", in, {12, 13, 14, 15});
     },
     kPublic},
    {"isatap on the link",
     [](Bytes in) {
       return put("fe80::5efe:0:0", in, {12, 13, 14, 15});
     },
     kLinkLocal},
};

TEST(Unwrap, TheWorseOfOuterAndInnerCounts) {
  for (const Wrapper& wrapper : kWrappers) {
    for (const char* const inner_text : kInnerAddresses) {
      const IpAddress inner = address(inner_text);
      const IpAddress outer = IpAddress::v6(wrapper.wrap(inner.octets()));
      const AddressClass expected = std::min(wrapper.outer, registry_class(inner));
      const std::string_view name = wrapper.name;
      if (name.starts_with("local nat64") && inner.octets()[0] == 0) continue;
      EXPECT_EQ(classify(outer, RouteFacts{}, {}), expected)
          << name << " " << inner_text << " " << outer.to_string();
      EXPECT_EQ(registry_class(outer), wrapper.outer) << name;
    }
  }
}

TEST(Unwrap, NeverMilderThanTheInnerOne) {
  std::mt19937 random(8215);
  for (int i = 0; i < 20000; ++i) {
    const IpAddress inner = IpAddress::v4(static_cast<std::uint32_t>(random()));
    for (const Wrapper& wrapper : kWrappers) {
      // Of the readings of a local NAT64 address, 0.0.0.0/8 is left out where there is another.
      if (std::string_view(wrapper.name).starts_with("local") && inner.octets()[0] == 0) continue;
      const IpAddress outer = IpAddress::v6(wrapper.wrap(inner.octets()));
      ASSERT_LE(classify(outer, RouteFacts{}, {}), std::min(registry_class(inner), wrapper.outer))
          << wrapper.name << " " << inner.to_string() << " " << outer.to_string();
    }
  }
}

TEST(Unwrap, TeredoCarriesServerAndClient) {
  const Unwrapped found = unwrap(address("2001:0:4136:e378:8000:63bf:3fff:fdd2"));
  ASSERT_EQ(found.count, 2U);
  EXPECT_EQ(found.inner[0], address("65.54.227.120"));  // RFC 4380 figures, as Wireshark shows them
  EXPECT_EQ(found.inner[1], address("192.0.2.45"));
}

TEST(Unwrap, OrdinaryAddressesCarryNothing) {
  for (const char* const text :
       {"10.0.0.1", "::", "::1", "2a00::1", "fe80::1", "ff02::1", "64:ff9b:2::10.0.0.1",
        "2001:1::1", "2a00::5efe:a00:1:0", "2a00::400:5efe:a00:1", "0:0:0:0:fffe:0:a00:1"}) {
    EXPECT_EQ(unwrap(address(text)).count, 0U) << text;
  }
}

TEST(Unwrap, ALocalNat64AddressIsReadInEveryWayItAllows) {
  const Unwrapped found = unwrap(address("64:ff9b:1:a01:2:300::"));
  ASSERT_EQ(found.count, 3U);
  EXPECT_EQ(found.inner[0], address("2.3.0.0"));   // of a /64
  EXPECT_EQ(found.inner[1], address("1.2.3.0"));   // of a /56
  EXPECT_EQ(found.inner[2], address("10.1.2.3"));  // of the /48
  EXPECT_EQ(unwrap(address("64:ff9b:1::9.9.9.9")).count, 1U);
}

TEST(Unwrap, SixToFourWithIsatapCarriesTwo) {
  const Unwrapped found = unwrap(address("2002:909:909::5efe:a01:203"));
  ASSERT_EQ(found.count, 2U);
  EXPECT_EQ(found.inner[0], address("9.9.9.9"));
  EXPECT_EQ(found.inner[1], address("10.1.2.3"));
}

// ---- what the FIB says

RouteFacts facts(RouteFacts::Type type) { return {.type = type}; }
RouteFacts on_link() {
  return {.type = RouteFacts::Type::kUnicast, .is_on_link = true, .prefix_length = 24};
}
RouteFacts gateway(unsigned length) {
  return {.type = RouteFacts::Type::kUnicast, .prefix_length = static_cast<std::uint8_t>(length)};
}
RouteFacts tunnel(unsigned length, bool is_on_link) {
  return {.type = RouteFacts::Type::kUnicast,
          .is_on_link = is_on_link,
          .is_tunnel = true,
          .prefix_length = static_cast<std::uint8_t>(length)};
}

TEST(ClassifyByRoute, TheHostsOwnAddressesAreSelfWhateverElseIsSaid) {
  const std::vector<ClassOverride> overrides{{prefix("0.0.0.0/0"), kLan},
                                             {prefix("::/0"), kVpn},
                                             {prefix("198.51.100.0/24"), kPublic},
                                             {prefix("9.9.9.9"), kLan},
                                             {prefix("9.9.9.9"), kPublic}};
  using Type = RouteFacts::Type;
  for (const Type type : {Type::kLocal, Type::kBroadcast, Type::kAnycast}) {
    for (const char* const text : {"9.9.9.9", "10.1.2.3", "198.51.100.9", "127.0.0.1", "224.0.0.1",
                                   "169.254.169.254", "2a00::1", "fe80::1", "64:ff9b::9.9.9.9"}) {
      RouteFacts route = tunnel(24, true);
      route.type = type;
      EXPECT_EQ(classify(address(text), route, overrides), kSelf) << text;
    }
  }
}

struct RouteRow {
  const char* text;
  RouteFacts route;
  AddressClass expected;
};

TEST(ClassifyByRoute, LinksAndTunnels) {
  const RouteRow rows[] = {
      {"9.9.9.9", gateway(0), kPublic},
      {"9.9.9.9", gateway(24), kPublic},
      {"9.9.9.9", on_link(), kLan},
      {"2a00::9", on_link(), kLan},
      {"198.51.100.7", on_link(), kLan},
      {"192.168.1.7", gateway(0), kLan},
      {"169.254.7.7", on_link(), kLinkLocal},
      {"fe80::7", on_link(), kLinkLocal},
      {"169.254.169.254", on_link(), kMetadata},
      {"224.0.0.5", on_link(), kMulticast},
      {"9.9.9.9", tunnel(24, true), kVpn},
      {"9.9.9.9", tunnel(24, false), kVpn},
      {"9.9.9.9", tunnel(3, true), kVpn},
      {"9.9.9.9", tunnel(2, true), kPublic},
      {"9.9.9.9", tunnel(1, true), kPublic},
      {"9.9.9.9", tunnel(0, false), kPublic},
      {"2a00::9", tunnel(0, true), kPublic},
      {"2a00::9", tunnel(32, true), kVpn},
      {"10.8.0.1", tunnel(24, true), kVpn},
      {"10.8.0.1", tunnel(0, true), kLan},
      {"169.254.169.254", tunnel(32, true), kMetadata},
      {"9.9.9.9", facts(RouteFacts::Type::kUnreachable), kPublic},
      {"10.8.0.1", facts(RouteFacts::Type::kUnreachable), kLan},
      {"224.0.0.5", facts(RouteFacts::Type::kMulticast), kMulticast},
      {"9.9.9.9", facts(RouteFacts::Type::kMulticast), kMulticast},
  };
  for (const RouteRow& row : rows) {
    EXPECT_EQ(classify(address(row.text), row.route, {}), row.expected) << row.text;
  }
}

TEST(ClassifyByRoute, ARouteNeverMakesTheInnerAddressMilder) {
  EXPECT_EQ(classify(address("64:ff9b::10.1.2.3"), gateway(0), {}), kLan);
  EXPECT_EQ(classify(address("64:ff9b::169.254.169.254"), tunnel(96, true), {}), kMetadata);
  EXPECT_EQ(classify(address("2002:7f00:1::1"), on_link(), {}), kLoopback);
}

// ---- what the user declares

TEST(ClassOverrides, TheLongestPrefixDecides) {
  const std::vector<ClassOverride> overrides{{prefix("9.9.0.0/16"), kLan},
                                             {prefix("9.9.9.0/24"), kVpn},
                                             {prefix("9.0.0.0/8"), kVpn},
                                             {prefix("2a00::/16"), kLan}};
  std::vector<ClassOverride> reversed(overrides.rbegin(), overrides.rend());
  for (const auto& list : {overrides, reversed}) {
    EXPECT_EQ(classify(address("9.9.9.9"), gateway(0), list), kVpn);
    EXPECT_EQ(classify(address("9.9.8.9"), gateway(0), list), kLan);
    EXPECT_EQ(classify(address("9.8.8.9"), gateway(0), list), kVpn);
    EXPECT_EQ(classify(address("8.8.8.8"), gateway(0), list), kPublic);
    EXPECT_EQ(classify(address("2a00::1"), gateway(0), list), kLan);
    EXPECT_EQ(classify(address("64:ff9b::9.9.8.9"), gateway(0), list), kLan);
  }
}

TEST(ClassOverrides, SelfMetadataLoopbackAndMulticastNeverMove) {
  const std::vector<ClassOverride> overrides{{prefix("0.0.0.0/0"), kLan}, {prefix("::/0"), kVpn}};
  EXPECT_EQ(classify(address("0.0.0.0"), gateway(0), overrides), kSelf);
  EXPECT_EQ(classify(address("::"), gateway(0), overrides), kSelf);
  EXPECT_EQ(classify(address("169.254.169.254"), gateway(0), overrides), kMetadata);
  EXPECT_EQ(classify(address("fd00:ec2::254"), gateway(0), overrides), kMetadata);
  EXPECT_EQ(classify(address("127.0.0.1"), gateway(0), overrides), kLoopback);
  EXPECT_EQ(classify(address("::1"), gateway(0), overrides), kLoopback);
  EXPECT_EQ(classify(address("255.255.255.255"), gateway(0), overrides), kMulticast);
  EXPECT_EQ(classify(address("ff02::1"), gateway(0), overrides), kMulticast);
  EXPECT_EQ(classify(address("169.254.1.1"), gateway(0), overrides), kLan);
  EXPECT_EQ(classify(address("9.9.9.9"), gateway(0), overrides), kLan);
}

TEST(ClassOverrides, PublicMovesTheRegistryClassAndNotTheLink) {
  const std::vector<ClassOverride> overrides{{prefix("198.51.100.0/24"), kPublic}};
  EXPECT_EQ(classify(address("198.51.100.7"), gateway(0), overrides), kPublic);
  EXPECT_EQ(classify(address("198.51.100.7"), on_link(), overrides), kLan);
  EXPECT_EQ(classify(address("198.51.100.7"), tunnel(24, true), overrides), kVpn);
  EXPECT_EQ(classify(address("64:ff9b::198.51.100.7"), gateway(0), overrides), kPublic);
  EXPECT_EQ(classify(address("::ffff:198.51.100.7"), gateway(0), overrides), kReserved);
}

TEST(ClassOverrides, LanAndVpnHoldAgainstLinkAndTunnel) {
  const std::vector<ClassOverride> overrides{{prefix("9.9.9.0/24"), kVpn},
                                             {prefix("10.8.0.0/16"), kLan}};
  EXPECT_EQ(classify(address("9.9.9.9"), on_link(), overrides), kVpn);
  EXPECT_EQ(classify(address("10.8.0.1"), tunnel(24, true), overrides), kLan);
}

struct OverrideRow {
  const char* prefix;
  AddressClass address_class;
  bool is_allowed;
};

TEST(ClassOverrides, WhatMayBeDeclared) {
  const OverrideRow rows[] = {
      {"203.0.113.0/24", kLan, true},
      {"9.9.9.9", kLan, true},
      {"9.9.9.9", kVpn, true},
      {"10.0.0.0/8", kVpn, true},
      {"0.0.0.0/0", kLan, true},
      {"::/0", kVpn, true},
      {"169.254.0.0/16", kLan, true},
      {"2001:db8::/32", kPublic, true},
      {"198.51.100.0/28", kPublic, true},
      {"198.18.0.0/15", kPublic, true},
      {"240.0.0.0/4", kPublic, true},
      {"192.0.0.0/24", kPublic, true},
      {"64:ff9b:1::/48", kPublic, true},
      {"100::/64", kPublic, true},
      {"3fff::/20", kPublic, true},
      {"2001:2::/48", kPublic, true},
      {"198.51.0.0/16", kPublic, false},
      {"198.16.0.0/14", kPublic, false},
      {"10.0.0.0/8", kPublic, false},
      {"9.9.9.9", kPublic, false},
      {"169.254.0.0/16", kPublic, false},
      {"0.0.0.0/0", kPublic, false},
      {"::/0", kPublic, false},
      {"fe00::/8", kPublic, false},
      {"8000::/1", kPublic, false},
      {"2001::/23", kPublic, false},
      {"127.0.0.1", kLan, false},
      {"127.0.0.0/8", kLan, false},
      {"0.0.0.0/8", kLan, false},
      {"::", kVpn, false},
      {"::1", kLan, false},
      {"169.254.169.254", kLan, false},
      {"192.0.0.192", kPublic, false},
      {"224.0.0.0/4", kLan, false},
      {"239.1.0.0/16", kVpn, false},
      {"ff02::/16", kLan, false},
      {"255.255.255.255", kLan, false},
      {"9.9.9.9", kSelf, false},
      {"9.9.9.9", kMetadata, false},
      {"9.9.9.9", kLoopback, false},
      {"9.9.9.9", kLinkLocal, false},
      {"9.9.9.9", kMulticast, false},
      {"9.9.9.9", kReserved, false},
  };
  for (const OverrideRow& row : rows) {
    const auto refusal = refuse_override({prefix(row.prefix), row.address_class});
    EXPECT_EQ(!refusal.has_value(), row.is_allowed)
        << row.prefix << " as " << class_name(row.address_class);
    EXPECT_NE(refusal.value_or("-"), "");
  }
}

}  // namespace
}  // namespace cordon
