#include "netstack/flow/reassembly.h"

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "netstack/flow/timeouts.h"
#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::counting;
using testing::hex;
using testing::ipv4;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::V4;
using testing::V6;

/// A fragment's place: [begin, end) of the datagram, and whether more follow.
struct Piece {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool has_more = true;
};

class Reassembly : public ::testing::Test {
 protected:
  /// The verdict as a name: "whole", "fragment-held" and so on. The packet stays in `whole_`.
  std::string_view insert(const Octets& bytes, bool is_v4) {
    const Parsed<IpPacket> packet = is_v4 ? parse_ipv4(bytes) : parse_ipv6(bytes);
    if (!packet || !packet->fragment) {
      ADD_FAILURE() << "no fragment";
      return "no fragment";
    }
    const Parsed<IpPacket> result = reassembler_.insert(now_, *packet);
    EXPECT_LE(reassembler_.bytes_held(), kReassemblyBytes);
    EXPECT_LE(reassembler_.datagrams(), kReassemblyDatagrams);
    if (!result) return drop_name(result.error());
    whole_ = *result;
    return "whole";
  }

  std::string_view v4(const Piece& piece, unsigned identification = 7, V4 fields = {}) {
    fields.identification = identification;
    fields.flags_and_offset =
        static_cast<unsigned>(piece.begin / 8) | (piece.has_more ? 0x2000U : 0U);
    return insert(ipv4(fields, counting(piece.end - piece.begin, piece.begin)), true);
  }

  std::string_view v6(const Piece& piece, unsigned identification = 7, unsigned protocol = 17) {
    return v6_with(counting(piece.end - piece.begin, piece.begin), piece, identification, protocol);
  }

  std::string_view v6_with(const Octets& data, const Piece& piece, unsigned identification,
                           unsigned protocol, const V6& fields = {.next_header = 44},
                           const Octets& before = {}) {
    Octets header(8);
    header[0] = static_cast<std::uint8_t>(protocol);
    testing::put16(header, 2, piece.begin | (piece.has_more ? 1U : 0U));
    testing::put32(header, 4, identification);
    return insert(ipv6(fields, before + header + data), false);
  }

  [[nodiscard]] Octets whole_packet() const { return {whole_.packet.begin(), whole_.packet.end()}; }
  [[nodiscard]] Octets whole_payload() const {
    return {whole_.payload.begin(), whole_.payload.end()};
  }

  std::vector<Octets> expire() {
    std::vector<Octets> reports;
    timed_out_ = reassembler_.expire(now_, [&](Bytes first_fragment) {
      reports.emplace_back(first_fragment.begin(), first_fragment.end());
    });
    return reports;
  }

  Instant now_{seconds(1000)};
  Reassembler reassembler_;
  IpPacket whole_;
  std::size_t timed_out_ = 0;
};

TEST_F(Reassembly, TwoIpv4FragmentsBecomeThePacketThatWasNeverCut) {
  EXPECT_EQ(v4({0, 1480}), "fragment-held");
  EXPECT_EQ(reassembler_.datagrams(), 1U);
  EXPECT_EQ(v4({1480, 1500, false}), "whole");
  EXPECT_EQ(whole_packet(), ipv4({.identification = 7, .flags_and_offset = 0}, counting(1500)));
  EXPECT_EQ(whole_payload(), counting(1500));
  EXPECT_FALSE(whole_.fragment);
  EXPECT_EQ(reassembler_.datagrams(), 0U);
  EXPECT_EQ(reassembler_.bytes_held(), 0U);
}

TEST_F(Reassembly, TwoIpv6FragmentsBecomeThePacketThatWasNeverCut) {
  EXPECT_EQ(v6({0, 1448}), "fragment-held");
  EXPECT_EQ(v6({1448, 1500, false}), "whole");
  EXPECT_EQ(whole_packet(), ipv6({}, counting(1500)));
  EXPECT_EQ(whole_.protocol, 17);
}

TEST_F(Reassembly, EveryOrderOfFourFragmentsCompletesWithTheLast) {
  std::vector<Piece> pieces{{0, 1000}, {1000, 2000}, {2000, 4096}, {4096, 4099, false}};
  std::vector<std::size_t> order{0, 1, 2, 3};
  do {
    for (std::size_t i = 0; i < 3; ++i) ASSERT_EQ(v4(pieces[order[i]]), "fragment-held");
    ASSERT_EQ(v4(pieces[order[3]]), "whole");
    ASSERT_EQ(whole_payload(), counting(4099));
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(reassembler_.datagrams(), 0U);
}

TEST_F(Reassembly, OptionsOfTheFirstIpv4FragmentStay) {
  EXPECT_EQ(v4({0, 64}, 7, {.options = hex("94040000")}), "fragment-held");
  EXPECT_EQ(v4({64, 70, false}), "whole");
  EXPECT_EQ(
      whole_packet(),
      ipv4({.identification = 7, .flags_and_offset = 0, .options = hex("94040000")}, counting(70)));
}

TEST_F(Reassembly, ExtensionHeadersOnBothSidesOfTheFragmentHeaderStay) {
  const Octets before = hex("2c 00 0104 00000000");
  const Octets behind = hex("11 00 0104 00000000");
  const V6 fields{.next_header = 60};
  const Octets data = behind + counting(1016);
  const Octets head(data.begin(), data.begin() + 512);
  const Octets tail(data.begin() + 512, data.end());
  EXPECT_EQ(v6_with(head, {0, 512}, 7, 60, fields, before), "fragment-held");
  EXPECT_EQ(v6_with(tail, {512, 1024, false}, 7, 60, fields, before), "whole");
  EXPECT_EQ(whole_packet(), ipv6(fields, hex("3c 00 0104 00000000") + data));
  EXPECT_EQ(whole_.protocol, 17);
  EXPECT_EQ(whole_payload(), counting(1016));
}

TEST_F(Reassembly, AnIpv6PayloadOf65535IsTheLargest) {
  for (std::size_t at = 0; at < 65520; at += 1440) {
    ASSERT_EQ(v6({at, std::min<std::size_t>(at + 1440, 65520)}), "fragment-held");
  }
  EXPECT_EQ(v6({65520, 65535, false}), "whole") << "RFC 8200 section 4.5";
  EXPECT_EQ(whole_payload(), counting(65535));
}

TEST_F(Reassembly, AnIpv4PacketOf65535IsTheLargest) {
  for (std::size_t at = 0; at < 64000; at += 1280) ASSERT_EQ(v4({at, at + 1280}), "fragment-held");
  EXPECT_EQ(v4({64000, 65515, false}), "whole") << "RFC 791";
  EXPECT_EQ(whole_packet().size(), 65535U);
}

TEST_F(Reassembly, DatagramsAreToldApartByEveryFieldOfTheirKey) {
  EXPECT_EQ(v4({0, 16}), "fragment-held");
  EXPECT_EQ(v4({16, 20, false}, 8), "fragment-held");
  EXPECT_EQ(v4({16, 20, false}, 7, {.source = "198.51.100.3"}), "fragment-held");
  EXPECT_EQ(v4({16, 20, false}, 7, {.destination = "198.51.100.21"}), "fragment-held");
  EXPECT_EQ(v4({16, 20, false}, 7, {.protocol = 1}), "fragment-held") << "RFC 791: protocol too";
  EXPECT_EQ(v6({16, 20, false}), "fragment-held");
  EXPECT_EQ(reassembler_.datagrams(), 6U);
  EXPECT_EQ(v4({16, 20, false}), "whole");
}

TEST_F(Reassembly, TheProtocolOfTheFirstIpv6FragmentCounts) {
  EXPECT_EQ(v6({16, 24, false}, 7, 99), "fragment-held") << "RFC 8200 section 4.5";
  EXPECT_EQ(v6({0, 16}, 7, 17), "whole");
  EXPECT_EQ(whole_.protocol, 17);
}

// --- Overlaps

TEST_F(Reassembly, AnyOverlapKillsTheDatagramAndWhatComesLater) {
  struct Row {
    const char* name;
    Piece piece;
  };
  const Row rows[] = {
      {"RFC 5722: the same again", {64, 128}},
      {"inside", {72, 80}},
      {"around", {56, 136}},
      {"its front", {56, 72}},
      {"its back", {120, 136}},
      {"one octet group, at the end", {120, 128}},
      {"an end inside", {96, 100, false}},
  };
  unsigned identification = 0;
  for (const Row& row : rows) {
    for (const bool is_v4 : {true, false}) {
      ++identification;
      const auto send = [&](const Piece& piece) {
        return is_v4 ? v4(piece, identification) : v6(piece, identification);
      };
      ASSERT_EQ(send({64, 128}), "fragment-held") << row.name;
      ASSERT_EQ(send(row.piece), "fragment-overlap") << row.name;
      // What would complete it now finds it dead.
      ASSERT_EQ(send({0, 64}), "fragment-bad") << row.name;
      ASSERT_EQ(send({64, 128}), "fragment-bad") << row.name;
      ASSERT_EQ(send({128, 136, false}), "fragment-bad") << row.name;
    }
  }
  EXPECT_EQ(reassembler_.bytes_held(), 0U) << "the dead hold no pages";
}

TEST_F(Reassembly, FragmentsThatTouchDoNotOverlap) {
  EXPECT_EQ(v4({64, 128}), "fragment-held");
  EXPECT_EQ(v4({128, 136, false}), "fragment-held");
  EXPECT_EQ(v4({0, 64}), "whole");
}

TEST_F(Reassembly, ADeadDatagramIsForgottenAtItsTimeout) {
  EXPECT_EQ(v4({0, 64}), "fragment-held");
  EXPECT_EQ(v4({0, 64}), "fragment-overlap");
  now_ += kReassemblyTimeout - milliseconds(1);
  EXPECT_TRUE(expire().empty());
  EXPECT_EQ(v4({64, 72, false}), "fragment-bad");
  now_ += milliseconds(1);
  EXPECT_TRUE(expire().empty()) << "nothing is reported about the dead";
  EXPECT_EQ(timed_out_, 0U);
  EXPECT_EQ(v4({0, 64}), "fragment-held");
  EXPECT_EQ(v4({64, 72, false}), "whole");
}

// --- Bad by themselves

TEST_F(Reassembly, BadFragmentsKillTheirDatagram) {
  struct Row {
    const char* name;
    Piece piece;
  };
  const Row rows[] = {
      {"RFC 8200 4.5: no multiple of 8 with more to come", {64, 79}},
      {"CVE-2016-6834: empty with more to come", {64, 64}},
      {"empty and last", {64, 64, false}},
      {"CVE-2018-11806: the sum passes 65,535", {65528, 65544, false}},
      {"the sum with the header passes 65,535", {65496, 65536}},
  };
  unsigned identification = 100;
  for (const Row& row : rows) {
    ++identification;
    ASSERT_EQ(v4({0, 64}, identification), "fragment-held") << row.name;
    EXPECT_EQ(v4(row.piece, identification), "fragment-bad") << row.name;
    EXPECT_EQ(v4({64, 72, false}, identification), "fragment-bad") << row.name << ": dead";
  }
}

TEST_F(Reassembly, ABadFragmentThatComesFirstKillsTheRestToo) {
  EXPECT_EQ(v4({64, 64}), "fragment-bad");
  EXPECT_EQ(v4({0, 64}), "fragment-bad");
}

TEST_F(Reassembly, EmptyFragmentsByTheThousandTakeNothing) {
  for (unsigned i = 0; i < 1000; ++i) ASSERT_EQ(v4({64, 64}, i), "fragment-bad");
  EXPECT_EQ(reassembler_.bytes_held(), 0U);
  EXPECT_EQ(reassembler_.datagrams(), kReassemblyDatagrams);
}

TEST_F(Reassembly, TheEndOfADatagramIsWhereTheLastFragmentPutIt) {
  EXPECT_EQ(v4({128, 136, false}, 1), "fragment-held");
  EXPECT_EQ(v4({136, 144, false}, 1), "fragment-bad") << "a second end";
  EXPECT_EQ(v4({128, 136, false}, 2), "fragment-held");
  EXPECT_EQ(v4({136, 144}, 2), "fragment-bad") << "more behind the end";
  EXPECT_EQ(v4({128, 136}, 3), "fragment-held");
  EXPECT_EQ(v4({64, 72, false}, 3), "fragment-bad") << "an end before what came";
  // CVE-2019-14378: a first fragment larger than the total.
  EXPECT_EQ(v4({8, 24, false}, 4), "fragment-held");
  EXPECT_EQ(v4({0, 64000}, 4), "fragment-overlap");
}

TEST_F(Reassembly, AFirstHeaderLargerThanTheOthersCannotMakeAPacketPast65535) {
  for (std::size_t at = 64; at < 65472; at += 1424) {
    ASSERT_EQ(v4({at, std::min<std::size_t>(at + 1424, 65472)}), "fragment-held");
  }
  ASSERT_EQ(v4({65472, 65515, false}), "fragment-held");
  EXPECT_EQ(v4({0, 64}, 7, {.options = Octets(40, 1)}), "fragment-bad");
  EXPECT_EQ(reassembler_.bytes_held(), 0U);
}

TEST_F(Reassembly, TheFirstFragmentHoldsTheTransportHeader) {
  struct Row {
    const char* name;
    unsigned protocol;
    std::size_t size;
    bool is_good;
  };
  const Row rows[] = {
      {"RFC 7112: TCP, 16 octets", 6, 16, false},
      {"TCP, 24 octets", 6, 24, true},
      {"UDP, 8 octets", 17, 8, true},
  };
  unsigned identification = 200;
  for (const Row& row : rows) {
    ++identification;
    const std::string_view expected = row.is_good ? "fragment-held" : "fragment-bad";
    EXPECT_EQ(v4({0, row.size}, identification, {.protocol = row.protocol}), expected) << row.name;
    EXPECT_EQ(v6({0, row.size}, identification, row.protocol), expected) << row.name;
  }
}

TEST_F(Reassembly, TheFirstIpv6FragmentHoldsTheWholeChain) {
  // RFC 7112: the options header says 32 octets, and 16 are there.
  EXPECT_EQ(v6_with(hex("11 03 010c") + Octets(12), {0, 16}, 1, 60), "fragment-bad");
  EXPECT_EQ(v6_with(hex("11 00 0104 00000000") + Octets(8), {0, 16}, 2, 60), "fragment-held");
  EXPECT_EQ(v6_with(hex("11 00 0104 00000000"), {0, 8}, 3, 60), "fragment-bad") << "no UDP header";
  EXPECT_EQ(v6_with(hex("11 00 0000 00000001") + Octets(8), {0, 16}, 4, 44), "fragment-bad")
      << "a fragment header in a fragment";
  EXPECT_EQ(v6_with(hex("11 00 c204 00010000") + Octets(8), {0, 16}, 5, 60), "fragment-bad")
      << "an option that asks for the packet's death";
}

TEST_F(Reassembly, NeighbourDiscoveryDoesNotComeInFragments) {
  for (unsigned type = 133; type <= 137; ++type) {
    Octets data(16);
    data[0] = static_cast<std::uint8_t>(type);
    EXPECT_EQ(v6_with(data, {0, 16}, type, 58), "fragment-bad") << "RFC 6980: " << type;
  }
  Octets echo(16);
  echo[0] = 128;
  EXPECT_EQ(v6_with(echo, {0, 16}, 1, 58), "fragment-held");
}

// --- Time

TEST_F(Reassembly, ADatagramTimesOutAfterSixtySecondsAndItsFirstFragmentIsReported) {
  EXPECT_EQ(reassembler_.next_deadline(), kNever);
  const Octets first = ipv4({.identification = 7, .flags_and_offset = 0x2000}, counting(1480));
  EXPECT_EQ(v4({2960, 3000, false}), "fragment-held");
  const Instant created = now_;
  now_ += seconds(30);
  EXPECT_EQ(insert(first, true), "fragment-held");
  // RFC 8200 section 4.5: from the first that arrived, whichever it is.
  EXPECT_EQ(reassembler_.next_deadline(), created + kReassemblyTimeout);
  now_ = created + kReassemblyTimeout - milliseconds(1);
  EXPECT_TRUE(expire().empty());
  now_ += milliseconds(1);
  EXPECT_EQ(expire(), std::vector<Octets>{first});
  EXPECT_EQ(timed_out_, 1U);
  EXPECT_EQ(reassembler_.datagrams(), 0U);
  EXPECT_EQ(reassembler_.bytes_held(), 0U);
  EXPECT_EQ(reassembler_.next_deadline(), kNever);
}

TEST_F(Reassembly, TheFirstIpv6FragmentIsReportedAsItCame) {
  const Octets first = ipv6({.next_header = 44}, hex("11 00 0001 00000007") + counting(2448));
  EXPECT_EQ(insert(first, false), "fragment-held");
  now_ += kReassemblyTimeout;
  EXPECT_EQ(expire(), std::vector<Octets>{first});
}

TEST_F(Reassembly, WithoutAFirstFragmentTheTimeoutIsSilent) {
  EXPECT_EQ(v4({8, 16}), "fragment-held");
  now_ += kReassemblyTimeout;
  EXPECT_TRUE(expire().empty()) << "RFC 1122 section 3.3.2, RFC 8200 section 4.5";
  EXPECT_EQ(timed_out_, 1U);
}

// P-02, CVE-2019-15890 and CVE-2020-1983: completing and timing out in one tick.
TEST_F(Reassembly, APieceThatComesAtTheTimeoutCompletesNothing) {
  EXPECT_EQ(v4({0, 16}), "fragment-held");
  now_ += kReassemblyTimeout;
  EXPECT_EQ(v4({16, 24, false}), "fragment-timeout");
  EXPECT_EQ(expire().size(), 1U) << "it is still reported";
  EXPECT_EQ(v4({16, 24, false}), "fragment-held") << "and the piece begins anew";
}

// --- Bounds

TEST_F(Reassembly, TheSixtyFifthFragmentKillsItsDatagram) {
  for (std::size_t i = 0; i < kReassemblyFragments; ++i) {
    ASSERT_EQ(v4({i * 16, i * 16 + 8}), "fragment-held") << i;
  }
  EXPECT_EQ(v4({1024, 1032}), "fragment-no-room");
  EXPECT_EQ(v4({8, 16}), "fragment-bad");
}

TEST_F(Reassembly, SixtyFourFragmentsComplete) {
  for (std::size_t i = kReassemblyFragments; i-- > 0;) {
    const bool is_last = i + 1 == kReassemblyFragments;
    ASSERT_EQ(v4({i * 8, i * 8 + 8, !is_last}), i == 0 ? "whole" : "fragment-held") << i;
  }
  EXPECT_EQ(whole_payload(), counting(512));
}

TEST_F(Reassembly, TheOldestDatagramGivesWayWhereSlotsRunOut) {
  for (unsigned i = 0; i < kReassemblyDatagrams; ++i) ASSERT_EQ(v4({0, 16}, i), "fragment-held");
  EXPECT_EQ(reassembler_.evictions(), 0U);
  ASSERT_EQ(v4({0, 16}, 1000), "fragment-held");
  EXPECT_EQ(reassembler_.evictions(), 1U);
  EXPECT_EQ(reassembler_.datagrams(), kReassemblyDatagrams);
  EXPECT_EQ(v4({16, 24, false}, 1), "whole") << "the second oldest is still there";
  EXPECT_EQ(v4({16, 24, false}, 0), "fragment-held") << "the oldest is not";
}

TEST_F(Reassembly, TheOldestDatagramGivesWayWherePagesRunOut) {
  // 40 times 32,000 octets are more than a megabyte.
  for (unsigned i = 0; i < 40; ++i) ASSERT_EQ(v4({0, 32000}, i), "fragment-held");
  EXPECT_GT(reassembler_.evictions(), 0U);
  EXPECT_LT(reassembler_.datagrams(), 40U);
  EXPECT_LE(reassembler_.bytes_held(), kReassemblyBytes);
  EXPECT_EQ(v4({32000, 32008, false}, 39), "whole") << "the youngest is whole";
  EXPECT_EQ(whole_payload(), counting(32008));
  EXPECT_EQ(v4({32000, 32008, false}, 0), "fragment-held") << "the oldest is gone";
}

TEST_F(Reassembly, ADatagramThatNeedsPagesNeverTakesItsOwn) {
  for (unsigned i = 1; i < 40; ++i) ASSERT_EQ(v4({0, 32000}, i), "fragment-held");
  // The oldest that is left grows: others give way, not itself.
  const auto oldest = static_cast<unsigned>(reassembler_.evictions()) + 1;
  ASSERT_EQ(v4({32000, 64000}, oldest), "fragment-held");
  ASSERT_EQ(v4({64000, 65000, false}, oldest), "whole");
  EXPECT_EQ(whole_payload(), counting(65000));
}

TEST_F(Reassembly, FragmentSmackStaysWithinTheBounds) {
  // CVE-2018-5391: tiny pieces, far from each other, of many datagrams.
  for (unsigned round = 0; round < 20; ++round) {
    for (unsigned i = 0; i < 100; ++i) {
      (void)v4({round * 3000U + 8, round * 3000U + 16}, i);
    }
  }
  EXPECT_LE(reassembler_.bytes_held(), kReassemblyBytes);
  // An honest datagram still passes.
  EXPECT_EQ(v4({0, 1480}, 5000), "fragment-held");
  EXPECT_EQ(v4({1480, 1500, false}, 5000), "whole");
}

TEST_F(Reassembly, APacketThatIsNoFragmentComesBackAsItIs) {
  const Octets bytes = ipv4({}, counting(8));
  const Parsed<IpPacket> packet = reassembler_.insert(now_, parse_ipv4(bytes).value());
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->packet.data(), bytes.data());
  EXPECT_EQ(reassembler_.datagrams(), 0U);
}

}  // namespace
}  // namespace cordon
