#include "netstack/names/dns_message.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using Octets = std::vector<std::uint8_t>;

void put16(Octets& out, unsigned value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

void put32(Octets& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}

Octets header(unsigned id, unsigned flags, unsigned questions, unsigned answers = 0,
              unsigned authority = 0, unsigned additional = 0) {
  Octets out;
  for (const unsigned value : {id, flags, questions, answers, authority, additional}) {
    put16(out, value);
  }
  return out;
}

void put_name(Octets& out, std::string_view text) {
  const DnsName name = DnsName::parse(text).value();
  out.insert(out.end(), name.wire().begin(), name.wire().end());
}

void put_question(Octets& out, std::string_view name, unsigned type, unsigned question_class = 1) {
  put_name(out, name);
  put16(out, type);
  put16(out, question_class);
}

void put_record(Octets& out, std::string_view name, unsigned type, unsigned record_class,
                std::uint32_t ttl, const Octets& data) {
  put_name(out, name);
  put16(out, type);
  put16(out, record_class);
  put32(out, ttl);
  put16(out, static_cast<unsigned>(data.size()));
  out.insert(out.end(), data.begin(), data.end());
}

Octets plain_query(std::string_view name, unsigned type, unsigned id = 0x1234) {
  Octets out = header(id, 0x0100, 1);
  put_question(out, name, type);
  return out;
}

Octets edns_query(std::string_view name, unsigned type, unsigned udp_octets, std::uint32_t ttl = 0,
                  const Octets& options = {}) {
  Octets out = header(0x1234, 0x0100, 1, 0, 0, 1);
  put_question(out, name, type);
  put_record(out, ".", dns_type::kOpt, udp_octets, ttl, options);
  return out;
}

DnsQuery parsed(const Octets& message) {
  const auto query = parse_dns_query(message);
  EXPECT_TRUE(query);
  return query ? *query : DnsQuery{};
}

Octets reply_to(const Octets& query, const DnsReply& reply, std::size_t room = 512) {
  Octets out(room);
  out.resize(write_dns_reply(parsed(query), reply, out));
  if (!out.empty()) {
    EXPECT_TRUE(answers_dns_query(query, out));
    EXPECT_TRUE(is_whole_dns_message(out));
  }
  return out;
}

std::optional<DnsRecord> record_of(const Octets& message, std::uint16_t type) {
  DnsRecords records(message);
  while (const auto record = records.next()) {
    if (record->type == type) return record;
  }
  return std::nullopt;
}

// ---- queries

TEST(ParseDnsQuery, PlainAndWithEdns) {
  const DnsQuery plain = parsed(plain_query("Ok.Example", dns_type::kAaaa));
  EXPECT_EQ(plain.header.id, 0x1234);
  EXPECT_TRUE(plain.header.is_recursion_desired);
  EXPECT_EQ(plain.question.name.to_string(), "Ok.Example");
  EXPECT_EQ(plain.question.type, dns_type::kAaaa);
  EXPECT_FALSE(plain.edns);
  EXPECT_EQ(plain.udp_limit(), 512U);
  const DnsQuery edns = parsed(edns_query("ok.example", dns_type::kA, 1232, 0x8000));
  ASSERT_TRUE(edns.edns);
  EXPECT_EQ(edns.udp_limit(), 1232U);
  EXPECT_TRUE(edns.edns->is_dnssec_ok);
  // RFC 6891 section 6.2.3: less than 512 means 512.
  EXPECT_EQ(parsed(edns_query("ok.example", dns_type::kA, 100)).udp_limit(), 512U);
}

TEST(ParseDnsQuery, EveryTruncationIsRefused) {
  const Octets whole = edns_query("www.ok.example", dns_type::kA, 1232, 0, {0, 10, 0, 2, 1, 2});
  ASSERT_TRUE(parse_dns_query(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto query = parse_dns_query(Bytes(whole).first(size));
    ASSERT_FALSE(query) << size;
    EXPECT_EQ(query.error(), size < 12 ? DnsFault::kIgnored : DnsFault::kFormErr) << size;
  }
}

DnsFault fault_of(const Octets& message) {
  const auto query = parse_dns_query(message);
  EXPECT_FALSE(query);
  return query ? DnsFault::kIgnored : query.error();
}

TEST(ParseDnsQuery, ResponsesAreIgnored) {
  Octets response = header(1, 0x8180, 1);
  put_question(response, "ok.example", 1);
  EXPECT_EQ(fault_of(response), DnsFault::kIgnored);
  EXPECT_EQ(fault_of({}), DnsFault::kIgnored);
}

TEST(ParseDnsQuery, OtherOpcodesAreNotImplemented) {
  for (unsigned opcode = 1; opcode < 16; ++opcode) {
    EXPECT_EQ(fault_of(header(1, opcode << 11, 0)), DnsFault::kNotImp);
  }
}

TEST(ParseDnsQuery, FormErrors) {
  EXPECT_EQ(fault_of(header(1, 0x0100, 0)), DnsFault::kFormErr) << "no question";
  Octets two = header(1, 0x0100, 2);
  put_question(two, "ok.example", 1);
  put_question(two, "evil.example", 1);
  EXPECT_EQ(fault_of(two), DnsFault::kFormErr) << "RFC 9619";
  Octets trailing = plain_query("ok.example", 1);
  trailing.push_back(0);
  EXPECT_EQ(fault_of(trailing), DnsFault::kFormErr) << "an octet too many";
  Octets answer = header(1, 0x0100, 1, 1);
  put_question(answer, "ok.example", 1);
  put_record(answer, "ok.example", 1, 1, 60, {1, 2, 3, 4});
  EXPECT_EQ(fault_of(answer), DnsFault::kFormErr) << "an answer in a query";
  Octets two_opts = edns_query("ok.example", 1, 1232);
  two_opts[11] = 2;
  put_record(two_opts, ".", dns_type::kOpt, 1232, 0, {});
  EXPECT_EQ(fault_of(two_opts), DnsFault::kFormErr) << "RFC 6891 6.1.1";
  Octets named_opt = header(1, 0x0100, 1, 0, 0, 1);
  put_question(named_opt, "ok.example", 1);
  put_record(named_opt, "ok.example", dns_type::kOpt, 1232, 0, {});
  EXPECT_EQ(fault_of(named_opt), DnsFault::kFormErr) << "an OPT record's name is the root";
  EXPECT_EQ(fault_of(edns_query("ok.example", 1, 1232, 0, {0, 10, 0, 9, 1})), DnsFault::kFormErr);
  EXPECT_EQ(fault_of(edns_query("ok.example", 1, 1232, 0, {0, 10, 0})), DnsFault::kFormErr);
}

TEST(ParseDnsQuery, OtherAdditionalRecordsAreReadOver) {
  Octets query = header(1, 0x0100, 1, 0, 0, 2);
  put_question(query, "ok.example", 1);
  put_record(query, "key.example", 250, 255, 0, {1, 2, 3});
  put_record(query, ".", dns_type::kOpt, 4096, 0, {});
  EXPECT_EQ(parsed(query).udp_limit(), 4096U);
}

TEST(RefuseDnsQuery, WhatIsNotForUs) {
  EXPECT_EQ(refuse_dns_query(parsed(plain_query("ok.example", dns_type::kA))), std::nullopt);
  EXPECT_EQ(refuse_dns_query(parsed(plain_query("ok.example", dns_type::kTxt))), std::nullopt);
  EXPECT_EQ(refuse_dns_query(parsed(plain_query("ok.example", dns_type::kAny))), DnsRcode::kNotImp);
  EXPECT_EQ(refuse_dns_query(parsed(plain_query("ok.example", dns_type::kAxfr))),
            DnsRcode::kNotImp);
  EXPECT_EQ(refuse_dns_query(parsed(plain_query("ok.example", dns_type::kIxfr))),
            DnsRcode::kNotImp);
  Octets chaos = header(1, 0x0100, 1);
  put_question(chaos, "version.bind", dns_type::kTxt, 3);
  EXPECT_EQ(refuse_dns_query(parsed(chaos)), DnsRcode::kNotImp);
  EXPECT_EQ(refuse_dns_query(parsed(edns_query("ok.example", 1, 1232, 0x00010000))),
            DnsRcode::kBadVers);
}

// ---- answers

TEST(WriteDnsReply, FilteredNameGetsNxdomainAndSaysWhyWhereTheGuestUnderstands) {
  const DnsReply reply{.rcode = DnsRcode::kNxDomain, .extended_error = DnsExtendedError::kFiltered};
  const Octets plain = reply_to(plain_query("evil.example", 1), reply);
  EXPECT_EQ(read_dns_header(plain)->rcode, 3);
  EXPECT_EQ(read_dns_header(plain)->additional_count, 0);
  const Octets edns = reply_to(edns_query("evil.example", 1, 1232), reply);
  const auto opt = record_of(edns, dns_type::kOpt);
  ASSERT_TRUE(opt);
  EXPECT_EQ(Octets(opt->data.begin(), opt->data.end()), (Octets{0, 15, 0, 2, 0, 17}));  // RFC 8914
}

TEST(WriteDnsReply, GoldenAnswer) {
  const std::array addresses{IpAddress::v4({198, 51, 100, 7})};
  const Octets answer = reply_to(plain_query("host.cordon.internal", dns_type::kA, 0xbeef),
                                 {.addresses = addresses, .ttl = 300});
  Octets expected = header(0xbeef, 0x8180, 1, 1);
  put_question(expected, "host.cordon.internal", dns_type::kA);
  for (const unsigned octet : {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51, 100, 7}) {
    expected.push_back(static_cast<std::uint8_t>(octet));
  }
  EXPECT_EQ(answer, expected);
}

TEST(WriteDnsReply, OnlyAddressesOfTheAskedTypeAreTold) {
  const std::array addresses{IpAddress::v4({198, 51, 100, 7}),
                             IpAddress::parse("2001:db8::7").value()};
  const DnsReply reply{.addresses = addresses, .ttl = 60};
  const Octets a = reply_to(plain_query("x.example", dns_type::kA), reply);
  EXPECT_TRUE(record_of(a, dns_type::kA));
  EXPECT_EQ(read_dns_header(a)->answer_count, 1);
  const Octets aaaa = reply_to(plain_query("x.example", dns_type::kAaaa), reply);
  EXPECT_EQ(record_of(aaaa, dns_type::kAaaa)->data.size(), 16U);
  const Octets https = reply_to(plain_query("x.example", dns_type::kHttps), reply);
  EXPECT_EQ(read_dns_header(https)->answer_count, 0);
  EXPECT_EQ(read_dns_header(https)->rcode, 0);
}

TEST(WriteDnsReply, Pointer) {
  const DnsName pointer = DnsName::parse("host.cordon.internal").value();
  const Octets answer = reply_to(plain_query("4.2.0.10.in-addr.arpa", dns_type::kPtr),
                                 {.pointer = &pointer, .ttl = 60});
  const auto record = record_of(answer, dns_type::kPtr);
  ASSERT_TRUE(record);
  std::size_t offset = record->data_offset;
  EXPECT_EQ(DnsName::read(answer, offset), pointer);
}

TEST(WriteDnsReply, BadVersionUsesTheUpperBits) {
  const Octets answer =
      reply_to(edns_query("ok.example", 1, 1232, 0x00010000), {.rcode = DnsRcode::kBadVers});
  EXPECT_EQ(read_dns_header(answer)->rcode, 0);
  EXPECT_EQ(record_of(answer, dns_type::kOpt)->ttl, 0x01000000U);
}

TEST(WriteDnsReply, FlagsEchoWhatMustBeEchoed) {
  Octets query = header(7, 0x0110, 1);
  put_question(query, "ok.example", 1);
  const auto answered = read_dns_header(reply_to(query, {.rcode = DnsRcode::kServFail}));
  EXPECT_TRUE(answered->is_recursion_desired && answered->is_checking_disabled);
  EXPECT_TRUE(answered->is_recursion_available && answered->is_response);
  EXPECT_FALSE(answered->is_authoritative);
  EXPECT_EQ(answered->rcode, 2);
}

TEST(WriteDnsReply, WhatDoesNotFitIsLeftOutAndMarked) {
  std::vector<IpAddress> addresses;
  for (std::uint8_t i = 0; i < 100; ++i) addresses.push_back(IpAddress::v4({198, 51, 100, i}));
  const Octets query = edns_query("ok.example", dns_type::kA, 1232);
  const DnsReply reply{.addresses = addresses, .ttl = 60};
  const Octets whole = reply_to(query, reply, 4096);
  EXPECT_EQ(read_dns_header(whole)->answer_count, 100);
  for (std::size_t room = 0; room < whole.size(); ++room) {
    const Octets cut = reply_to(query, reply, room);
    if (cut.empty()) {
      EXPECT_LT(room, 28U);
      continue;
    }
    EXPECT_TRUE(read_dns_header(cut)->is_truncated) << room;
    EXPECT_EQ(read_dns_header(cut)->answer_count, 0) << room;
    EXPECT_EQ(read_dns_header(cut)->additional_count, room >= 28 + 11 ? 1 : 0) << room;
  }
}

TEST(WriteDnsFault, AHeaderAloneOrNothing) {
  Octets out(64);
  const Octets query = header(0xabcd, 0x0100, 0);
  EXPECT_EQ(write_dns_fault(query, DnsFault::kIgnored, out), 0U);
  ASSERT_EQ(write_dns_fault(query, DnsFault::kFormErr, out), 12U);
  EXPECT_EQ(read_dns_header(out)->id, 0xabcd);
  EXPECT_EQ(read_dns_header(out)->rcode, 1);
  EXPECT_TRUE(read_dns_header(out)->is_response);
  ASSERT_EQ(write_dns_fault(header(1, 0x2000, 0), DnsFault::kNotImp, out), 12U);
  EXPECT_EQ(read_dns_header(out)->rcode, 4);
  EXPECT_EQ(read_dns_header(out)->opcode, 4);
  EXPECT_EQ(write_dns_fault(header(1, 0x8000, 0), DnsFault::kFormErr, out), 0U);
  EXPECT_EQ(write_dns_fault(query, DnsFault::kFormErr, MutableBytes(out).first(11)), 0U);
}

// ---- towards the upstream and back

TEST(WriteDnsQuery, CarriesNothingOfTheGuestsButTheQuestion) {
  // Case bits, id, a cookie and a client subnet of the guest's stay behind.
  const Octets query = edns_query("oK.ExAmPlE", dns_type::kA, 4096, 0x8000,
                                  {0, 10, 0, 4, 1, 2, 3, 4, 0, 8, 0, 4, 0, 1, 24, 0});
  Octets out(512);
  out.resize(write_dns_query(0x7777, parsed(query), 1232, out));
  Octets expected = header(0x7777, 0x0100, 1, 0, 0, 1);
  put_question(expected, "ok.example", dns_type::kA);
  put_record(expected, ".", dns_type::kOpt, 1232, 0x8000, {});
  EXPECT_EQ(out, expected);
}

TEST(WriteDnsQuery, NothingWhereItDoesNotFit) {
  Octets out(30);
  EXPECT_EQ(write_dns_query(1, parsed(plain_query("ok.example", 1)), 1232, out), 0U);
}

Octets response_to(unsigned id, unsigned flags, std::string_view name, unsigned type,
                   unsigned question_class = 1) {
  Octets out = header(id, flags, 1, 1);
  put_question(out, name, type, question_class);
  put_record(out, name, 1, 1, 60, {198, 51, 100, 7});
  return out;
}

TEST(AnswersDnsQuery, IdQuestionAndDirectionMustFit) {
  const Octets query = plain_query("ok.example", 1, 0x1234);
  EXPECT_TRUE(answers_dns_query(query, response_to(0x1234, 0x8180, "ok.example", 1)));
  EXPECT_TRUE(answers_dns_query(query, response_to(0x1234, 0x8183, "OK.eXample", 1)));
  EXPECT_FALSE(answers_dns_query(query, response_to(0x1235, 0x8180, "ok.example", 1)));
  EXPECT_FALSE(answers_dns_query(query, response_to(0x1234, 0x0100, "ok.example", 1)));
  EXPECT_FALSE(answers_dns_query(query, response_to(0x1234, 0xa180, "ok.example", 1)));
  EXPECT_FALSE(answers_dns_query(query, response_to(0x1234, 0x8180, "evil.example", 1)));
  EXPECT_FALSE(answers_dns_query(query, response_to(0x1234, 0x8180, "ok.example", 28)));
  EXPECT_FALSE(answers_dns_query(query, response_to(0x1234, 0x8180, "ok.example", 1, 3)));
  EXPECT_FALSE(answers_dns_query(query, header(0x1234, 0x8181, 0)));
  EXPECT_FALSE(answers_dns_query(query, query));
  EXPECT_FALSE(answers_dns_query(query, {}));
}

TEST(AnswersDnsQuery, AThousandForgeriesFail) {
  std::mt19937 random(25684);
  const Octets query = plain_query("ok.example", 1, 0x1234);
  for (int i = 0; i < 1000; ++i) {
    unsigned id = random() & 0xffff;
    if (id == 0x1234) id ^= 1;
    ASSERT_FALSE(answers_dns_query(query, response_to(id, 0x8180, "ok.example", 1)));
  }
}

TEST(DnsRecords, LengthsThatLieEndTheWalk) {
  for (const unsigned lie : {5U, 100U, 65535U}) {
    Octets response = response_to(1, 0x8180, "ok.example", 1);
    response[response.size() - 6] = static_cast<std::uint8_t>(lie >> 8);
    response[response.size() - 5] = static_cast<std::uint8_t>(lie);
    DnsRecords records(response);
    EXPECT_FALSE(records.next()) << lie;
    EXPECT_FALSE(records.is_at_end());
    EXPECT_FALSE(is_whole_dns_message(response));
  }
  Octets shorter = response_to(1, 0x8180, "ok.example", 1);
  shorter[shorter.size() - 5] = 3;
  EXPECT_FALSE(is_whole_dns_message(shorter)) << "an octet is left over";
}

TEST(DnsRecords, CountsThatLieAreNoWholeMessage) {
  Octets response = response_to(1, 0x8180, "ok.example", 1);
  EXPECT_TRUE(is_whole_dns_message(response));
  for (const std::size_t place : {5U, 7U, 9U, 11U}) {
    Octets lies = response;
    lies[place] += 1;
    EXPECT_FALSE(is_whole_dns_message(lies)) << place;
  }
}

TEST(DnsRecords, ReadsAnswersAuthorityAndAdditional) {
  Octets response = header(1, 0x8180, 1, 1, 1, 1);
  put_question(response, "ok.example", 1);
  put_record(response, "ok.example", dns_type::kCname, 1, 7, {0xc0, 0x0c});
  put_record(response, "example", dns_type::kSoa, 1, 8, {});
  put_record(response, ".", dns_type::kOpt, 4096, 0, {});
  DnsRecords records(response);
  const auto cname = records.next();
  ASSERT_TRUE(cname);
  EXPECT_EQ(cname->ttl, 7U);
  std::size_t offset = cname->data_offset;
  EXPECT_EQ(DnsName::read(response, offset), DnsName::parse("ok.example"));
  EXPECT_EQ(records.next()->type, dns_type::kSoa);
  EXPECT_EQ(records.next()->record_class, 4096);
  EXPECT_FALSE(records.next());
  EXPECT_TRUE(records.is_at_end());
}

TEST(TruncateDnsResponse, LeavesHeaderAndQuestion) {
  const Octets query = plain_query("ok.example", 1);
  const Octets response = response_to(0x1234, 0x8183, "ok.example", 1);
  Octets out(512);
  out.resize(truncate_dns_response(response, out));
  ASSERT_EQ(out.size(), 28U);
  EXPECT_TRUE(answers_dns_query(query, out));
  EXPECT_TRUE(is_whole_dns_message(out));
  EXPECT_TRUE(read_dns_header(out)->is_truncated);
  EXPECT_EQ(read_dns_header(out)->rcode, 3);
  Octets small(27);
  EXPECT_EQ(truncate_dns_response(response, small), 0U);
  EXPECT_EQ(truncate_dns_response(query, out), 0U);
  EXPECT_EQ(truncate_dns_response(Bytes(response).first(20), out), 0U);
}

TEST(SetDnsId, WritesTheFirstTwoOctetsOrNothing) {
  Octets message = plain_query("ok.example", 1, 0x1234);
  set_dns_id(message, 0xfedc);
  EXPECT_EQ(message, plain_query("ok.example", 1, 0xfedc));
  Octets one{9};
  set_dns_id(one, 0xfedc);
  EXPECT_EQ(one, Octets{9});
}

}  // namespace
}  // namespace cordon
