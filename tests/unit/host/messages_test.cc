#include "netstack/host/messages.h"

#include <cstring>

#include <gtest/gtest.h>

namespace cordon {
namespace {

DnsName name;  // of what was decoded last

Bytes bytes_of(const Message& message) {
  return Bytes(reinterpret_cast<const std::uint8_t*>(&message), sizeof(message));
}

Request sample_request() {
  return Request{.direction = Direction::kInbound,
                 .protocol = Protocol::kUdp,
                 .guest = {*IpAddress::parse("10.77.0.2"), 40000},
                 .dialled = {*IpAddress::parse("2001:db8::1"), 443},
                 .address_class = AddressClass::kVpn,
                 .is_host_door = true};
}

void expect_same(const Request& a, const Request& b) {
  EXPECT_EQ(a.direction, b.direction);
  EXPECT_EQ(a.protocol, b.protocol);
  EXPECT_EQ(a.guest, b.guest);
  EXPECT_EQ(a.dialled, b.dialled);
  EXPECT_EQ(a.address_class, b.address_class);
  EXPECT_EQ(a.is_host_door, b.is_host_door);
}

TEST(Messages, ADenialArrivesAsItWasSent) {
  Denial denial{.id = 17, .request = sample_request()};
  denial.verdict = {.action = Action::kDeny,
                    .reason = Reason::kRule,
                    .rule = 3,
                    .limit = Limit::kDown,
                    .fault = FlightFault::kEnded};
  const auto message = decode_message(bytes_of(encode_denial(denial)));
  ASSERT_TRUE(message);
  const auto decoded = decode_denial(*message, name);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->id, 17U);
  expect_same(decoded->request, denial.request);
  EXPECT_EQ(decoded->verdict.reason, Reason::kRule);
  EXPECT_EQ(decoded->verdict.limit, Limit::kDown);
  EXPECT_EQ(decoded->verdict.fault, FlightFault::kEnded);
  EXPECT_EQ(decoded->verdict.rule, 3U);
  EXPECT_FALSE(decode_flow(*message, name));
  EXPECT_FALSE(decode_notice(*message));
}

TEST(Messages, ADenialWithoutRuleHasNone) {
  const auto decoded = decode_denial(encode_denial(Denial{}), name);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->verdict.rule, std::nullopt);
}

TEST(Messages, ADeniedQueryArrivesAsItWasSent) {
  Denial denial{.id = 9, .kind = Denial::Kind::kQuery, .request = sample_request()};
  denial.query_type = 28;
  denial.is_only_reported = true;
  const auto decoded = decode_denial(encode_denial(denial), name);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->kind, Denial::Kind::kQuery);
  EXPECT_EQ(decoded->query_type, 28);
  EXPECT_TRUE(decoded->is_only_reported);
}

TEST(Messages, AQuestionArrivesAsItWasSent) {
  Question question{.id = 3, .request = sample_request()};
  question.verdict.rule = 12;
  const auto decoded = decode_question(encode_question(question), name);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->id, 3U);
  EXPECT_EQ(decoded->verdict.rule, 12U);
  expect_same(decoded->request, question.request);
  EXPECT_FALSE(decode_question(encode_denial(Denial{}), name));
}

TEST(Messages, AFlowArrivesOpenAndClosed) {
  FlowReport report{.id = 5, .request = sample_request(), .rule = 4};
  auto decoded = decode_flow(encode_flow(report), name);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->end, std::nullopt);
  EXPECT_EQ(decoded->rule, 4U);
  report.end = FlowEnd::kRevoked;
  report.bytes_up = 1ULL << 40;
  report.bytes_down = 7;
  decoded = decode_flow(encode_flow(report), name);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->end, FlowEnd::kRevoked);
  EXPECT_EQ(decoded->bytes_up, 1ULL << 40);
  EXPECT_EQ(decoded->bytes_down, 7U);
  expect_same(decoded->request, report.request);
}

TEST(Messages, ANameThatWasResolvedArrivesWithTheAskingSocket) {
  const DnsName sent = *DnsName::parse("ok.example");
  const Request request{
      .protocol = Protocol::kUdp, .guest = {*IpAddress::parse("10.0.2.100"), 5353}, .name = &sent};
  DnsName read;
  const auto decoded = decode_resolved(encode_resolved({.request = request}), read);
  ASSERT_TRUE(decoded);
  expect_same(decoded->request, request);
  EXPECT_EQ(decoded->type, 0);
  for (const bool has_data : {false, true}) {
    const auto records = decode_resolved(
        encode_resolved({.request = request, .type = 33, .has_data = has_data}), read);
    ASSERT_TRUE(records);
    EXPECT_EQ(records->type, 33);
    EXPECT_EQ(records->has_data, has_data);
  }
  Message nameless = encode_resolved({.request = request});
  nameless.name.size = 0;
  EXPECT_FALSE(decode_resolved(nameless, read));
  EXPECT_FALSE(decode_resolved(encode_flow({.id = 1, .request = request}), read));
}

TEST(Messages, AFlowIsIntroducedWithItsNumber) {
  const DnsName sent = *DnsName::parse("ok.example");
  const Request request{.guest = {*IpAddress::parse("10.0.2.100"), 40000},
                        .dialled = {*IpAddress::parse("198.51.100.17"), 443},
                        .name = &sent};
  const Message message = encode_introduced(17, request);
  EXPECT_EQ(message.id, 17U);
  DnsName read;
  const auto decoded = decode_introduced(message, read);
  ASSERT_TRUE(decoded);
  expect_same(*decoded, request);
  EXPECT_FALSE(decode_introduced(encode_resolved({.request = request}), read));
  EXPECT_FALSE(decode_flow(message, read));
}

TEST(Messages, ANoticeArrivesWithItsCode) {
  const Message message = encode_notice(Notice::kUpstreamSilent, 110);
  EXPECT_EQ(decode_notice(message), Notice::kUpstreamSilent);
  EXPECT_EQ(message.code, 110);
}

TEST(Messages, EndpointsOfBothFamiliesArrive) {
  for (const char* text : {"0.0.0.0", "198.51.100.7", "::", "2001:db8::1", "::ffff:1.2.3.4"}) {
    const Endpoint endpoint{*IpAddress::parse(text), 65535};
    EXPECT_EQ(decode_endpoint(encode_endpoint(endpoint)), endpoint) << text;
  }
}

TEST(Messages, ANameArrivesAsItWasSent) {
  const std::string longest(63, 'a');
  for (const std::string& text :
       {std::string("Evil.Example"),
        longest + "." + longest + "." + longest + "." + longest.substr(2)}) {
    const auto sent = DnsName::parse(text);
    ASSERT_TRUE(sent) << text;
    Denial denial{.id = 1, .request = sample_request()};
    denial.request.name = &*sent;
    const auto decoded = decode_denial(encode_denial(denial), name);
    ASSERT_TRUE(decoded);
    ASSERT_NE(decoded->request.name, nullptr);
    EXPECT_EQ(decoded->request.name->to_string(), text);
  }
  EXPECT_EQ(decode_denial(encode_denial(Denial{}), name)->request.name, nullptr);
}

TEST(MessagesHostile, WhatIsNoNameIsRefused) {
  const auto sent = DnsName::parse("evil.example");
  Denial denial{.id = 1, .request = sample_request()};
  denial.request.name = &*sent;
  const Message good = encode_denial(denial);
  for (const std::uint8_t octet : {64, 0, 255, 0xc0}) {
    Message bad = good;
    bad.name.octets[0] = octet;
    EXPECT_FALSE(decode_denial(bad, name)) << int{octet};
  }
  for (std::uint8_t size = 1; size < 255; ++size) {
    Message bad = good;
    bad.name.size = size;
    EXPECT_EQ(decode_denial(bad, name).has_value(), size == sent->wire().size());
  }
}

TEST(MessagesHostile, OnlyAPolicysPartHasSomethingBehindIt) {
  std::vector<std::uint8_t> packet(sizeof(Message) + kMaxPartOctets + 1);
  Message message;
  message.kind = MessageKind::kPolicyPart;
  std::memcpy(packet.data(), &message, sizeof(message));
  EXPECT_FALSE(decode_message(packet));
  packet.pop_back();
  ASSERT_TRUE(decode_message(packet));
  EXPECT_EQ(part_of(packet).size(), kMaxPartOctets);
  message.kind = MessageKind::kAnswer;
  std::memcpy(packet.data(), &message, sizeof(message));
  EXPECT_FALSE(decode_message(packet));
}

TEST(MessagesHostile, AnotherSizeIsNoMessage) {
  const Message message = encode_denial(Denial{});
  std::vector<std::uint8_t> bytes(sizeof(Message) + 1);
  std::memcpy(bytes.data(), &message, sizeof(message));
  for (std::size_t size = 0; size < bytes.size() + 1; ++size) {
    EXPECT_EQ(decode_message(Bytes(bytes).first(std::min(size, bytes.size()))).has_value(),
              size == sizeof(Message));
  }
}

TEST(MessagesHostile, AnUnknownKindIsNoMessage) {
  for (const std::uint32_t kind : {0U, 10U, 100U, 108U, 0xffffffffU}) {
    Message message = encode_denial(Denial{});
    message.kind = static_cast<MessageKind>(kind);
    EXPECT_FALSE(decode_message(bytes_of(message))) << kind;
  }
}

TEST(MessagesHostile, TooManyUpstreamsAreNoMessage) {
  Message message;
  message.kind = MessageKind::kUpstreams;
  message.upstream_count = kMaxUpstreams;
  EXPECT_TRUE(decode_message(bytes_of(message)));
  message.upstream_count = kMaxUpstreams + 1;
  EXPECT_FALSE(decode_message(bytes_of(message)));
}

TEST(MessagesHostile, EveryEnumeratorOutOfRangeIsRefused) {
  const Message good = encode_denial(Denial{});
  ASSERT_TRUE(decode_denial(good, name));
  using Field = std::uint8_t Message::*;
  for (const Field field :
       {&Message::direction, &Message::protocol, &Message::address_class, &Message::is_host_door,
        &Message::action, &Message::reason, &Message::limit, &Message::fault, &Message::denial_kind,
        &Message::is_only_reported}) {
    Message bad = good;
    bad.*field = 0xff;
    EXPECT_FALSE(decode_denial(bad, name));
  }
  Message bad = good;
  bad.guest.is_v6 = 2;
  EXPECT_FALSE(decode_denial(bad, name));
  bad = good;
  bad.dialled.is_v6 = 0xff;
  EXPECT_FALSE(decode_denial(bad, name));
  Message flow = encode_flow(FlowReport{});
  flow.flow_end = static_cast<std::uint8_t>(FlowEnd::kRevoked) + 1;
  EXPECT_FALSE(decode_flow(flow, name));
  Message notice = encode_notice(Notice::kUpstreamSilent, 0);
  ++notice.notice;
  EXPECT_FALSE(decode_notice(notice));
}

}  // namespace
}  // namespace cordon
