// Trains that are gathered from datagrams: whatever comes, each flow's datagrams leave in their
// order, with their lengths and fields, and as few trains as the kernel allows.
#include "netstack/udp/datagram_trains.h"

#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using Octets = std::vector<std::uint8_t>;

struct Gathered {
  FlowId flow;
  SendFields fields;
  std::vector<Octets> parts;
};

class Gatherer final : public TrainSink {
 public:
  void on_train(const DatagramTrain& train) override {
    Gathered& gathered = trains.emplace_back();
    gathered.flow = train.flow;
    gathered.fields = train.fields;
    for (const Bytes part : train.parts) gathered.parts.emplace_back(part.begin(), part.end());
  }
  std::vector<Gathered> trains;
};

constexpr FlowId kFlow{.index = 1, .generation = 1};

std::vector<Gathered> gather(const std::vector<Octets>& datagrams) {
  DatagramTrains trains;
  Gatherer out;
  for (const Octets& datagram : datagrams) {
    trains.add(kFlow, SendFields{}, Bytes(datagram), false, out);
  }
  trains.let_go(out);
  return out.trains;
}

std::vector<std::size_t> sizes_of(const Gathered& train) {
  std::vector<std::size_t> sizes;
  for (const Octets& part : train.parts) sizes.push_back(part.size());
  return sizes;
}

TEST(DatagramTrain, IsOneOfEqualSizesWithAShorterLast) {
  const auto trains = gather({Octets(1200), Octets(1200), Octets(700), Octets(700)});
  ASSERT_EQ(trains.size(), 2U);
  EXPECT_EQ(trains[0].fields.segment_size, 1200);
  EXPECT_EQ(sizes_of(trains[0]), (std::vector<std::size_t>{1200, 1200, 700}));
  EXPECT_EQ(trains[1].fields.segment_size, 0);
  EXPECT_EQ(sizes_of(trains[1]), (std::vector<std::size_t>{700}));
}

TEST(DatagramTrain, IsEndedByALongerOne) {
  const auto trains = gather({Octets(700), Octets(701)});
  ASSERT_EQ(trains.size(), 2U);
  EXPECT_EQ(trains[0].fields.segment_size, 0);
  EXPECT_EQ(trains[1].fields.segment_size, 0);
}

TEST(DatagramTrain, IsNotJoinedByADatagramWithoutOctets) {
  const auto trains = gather({Octets(10), Octets(), Octets(), Octets(10)});
  ASSERT_EQ(trains.size(), 4U);
  for (const Gathered& train : trains) EXPECT_EQ(train.fields.segment_size, 0);
}

TEST(DatagramTrain, HoldsNoMoreThanTheKernelTakes) {
  auto trains = gather(std::vector<Octets>(65, Octets(100)));
  ASSERT_EQ(trains.size(), 2U);
  EXPECT_EQ(trains[0].parts.size(), 64U);
  trains = gather(std::vector<Octets>(60, Octets(1472)));
  ASSERT_EQ(trains.size(), 2U);
  EXPECT_EQ(trains[0].parts.size(), 65507U / 1472);
}

TEST(DatagramTrain, ThatCameAsOneStaysByItself) {
  DatagramTrains trains;
  Gatherer out;
  const Octets single(100);
  const Octets train(250);
  trains.add(kFlow, SendFields{}, single, false, out);
  trains.add(kFlow, SendFields{.segment_size = 100}, train, false, out);
  trains.add(kFlow, SendFields{}, single, false, out);
  trains.let_go(out);
  ASSERT_EQ(out.trains.size(), 3U);
  EXPECT_EQ(out.trains[1].fields.segment_size, 100);
  EXPECT_EQ(sizes_of(out.trains[1]), (std::vector<std::size_t>{250}));
}

TEST(DatagramTrain, IsOfDatagramsWithTheSameFields) {
  const SendFields plain;
  SendFields ttl = plain;
  ttl.ttl = 63;
  SendFields traffic_class = plain;
  traffic_class.traffic_class = 1;
  SendFields fragments = plain;
  fragments.may_fragment = true;
  for (const SendFields& other : {ttl, traffic_class, fragments}) {
    DatagramTrains trains;
    Gatherer out;
    const Octets datagram(100);
    trains.add(kFlow, plain, datagram, false, out);
    trains.add(kFlow, other, datagram, false, out);
    trains.add(kFlow, other, datagram, false, out);
    trains.let_go(out);
    ASSERT_EQ(out.trains.size(), 2U);
    EXPECT_EQ(out.trains[0].fields.segment_size, 0);
    EXPECT_EQ(out.trains[1].fields.segment_size, 100);
    EXPECT_EQ(out.trains[1].fields.ttl, other.ttl);
  }
}

TEST(DatagramTrain, IsNotJoinedByWhatGoesAlone) {
  DatagramTrains trains;
  Gatherer out;
  const Octets datagram(100);
  trains.add(kFlow, SendFields{}, datagram, false, out);
  trains.add(kFlow, SendFields{}, datagram, true, out);
  trains.add(kFlow, SendFields{}, datagram, false, out);
  trains.let_go(out);
  EXPECT_EQ(out.trains.size(), 3U);
}

TEST(DatagramTrains, OfManyFlowsKeepEachFlowsOrderLengthsAndFields) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    DatagramTrains trains;
    Gatherer out;
    std::map<std::uint32_t, std::vector<std::pair<Octets, std::uint8_t>>> sent;
    std::vector<Octets> datagrams(random() % 200);
    const std::uint32_t flows = 1 + random() % 40;
    const std::size_t largest = round % 10 == 0 ? 60000 : 300;
    for (Octets& datagram : datagrams) {
      // Few sizes, so that many join.
      datagram.resize(random() % 4 == 0 ? random() % largest : 100 * (random() % 3));
      for (std::uint8_t& octet : datagram) octet = static_cast<std::uint8_t>(random());
      const FlowId flow{.index = static_cast<std::uint32_t>(random()) % flows, .generation = 1};
      const auto ttl = static_cast<std::uint8_t>(random() % 8 == 0 ? 1 : 64);
      sent[flow.index].emplace_back(datagram, ttl);
      trains.add(flow, SendFields{.ttl = ttl}, datagram, random() % 16 == 0, out);
    }
    trains.let_go(out);
    std::map<std::uint32_t, std::vector<std::pair<Octets, std::uint8_t>>> left;
    for (const Gathered& train : out.trains) {
      std::size_t octets = 0;
      ASSERT_FALSE(train.parts.empty());
      ASSERT_LE(train.parts.size(), DatagramTrains::kMaxParts);
      ASSERT_EQ(train.fields.segment_size != 0, train.parts.size() > 1);
      for (const Octets& part : train.parts) {
        // The receiver cuts every segment_size octets: only the last part may be shorter.
        const bool is_last = &part == &train.parts.back();
        if (train.parts.size() > 1) {
          ASSERT_TRUE(part.size() == train.fields.segment_size ||
                      (is_last && part.size() < train.fields.segment_size && !part.empty()));
        }
        octets += part.size();
        left[train.flow.index].emplace_back(part, train.fields.ttl);
      }
      ASSERT_LE(octets, DatagramTrains::kMaxOctets);
    }
    ASSERT_EQ(left, sent);
  }
}

}  // namespace
}  // namespace cordon
