// RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 8701, RFC 9849.
#include "netstack/names/client_hello.h"

#include <gtest/gtest.h>

#include "tests/unit/names/hello_writer.h"

namespace cordon {
namespace {

using hello::Octets;
using hello::operator+;

DnsName name(std::string_view text) { return DnsName::parse(text).value_or(DnsName()); }

HelloFault fault_of(const Octets& stream) {
  const auto parsed = parse_client_hello(stream);
  EXPECT_FALSE(parsed.has_value());
  return parsed ? HelloFault::kNotTls : parsed.error();
}

TEST(ClientHello, TellsItsNameAndItsEnd) {
  const Octets stream = hello::records(hello::client_hello("ok.example"));
  const auto parsed = parse_client_hello(stream + Octets(100, 0x17));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->name, name("ok.example"));
  EXPECT_EQ(parsed->octets, stream.size());
  EXPECT_FALSE(parsed->has_encrypted_hello);
  EXPECT_FALSE(parsed->has_early_data);
}

TEST(ClientHello, IsIncompleteAtEveryOctetBeforeItsLast) {
  const Octets stream = hello::records(hello::client_hello("ok.example"), 100);
  for (std::size_t size = 0; size < stream.size(); ++size) {
    const auto parsed = parse_client_hello(Bytes(stream).first(size));
    ASSERT_FALSE(parsed) << size;
    EXPECT_EQ(parsed.error(), HelloFault::kIncomplete) << size;
  }
  EXPECT_TRUE(parse_client_hello(stream));
}

TEST(ClientHello, MayBeSpreadOverAnyNumberOfRecords) {
  const Octets message = hello::client_hello("ok.example");
  for (std::size_t size = 1; size <= message.size(); ++size) {
    const Octets stream = hello::records(message, size);
    const auto parsed = parse_client_hello(stream);
    ASSERT_TRUE(parsed) << size;
    EXPECT_EQ(parsed->name, name("ok.example"));
    EXPECT_EQ(parsed->octets, stream.size());
  }
}

TEST(ClientHello, MayHaveItsNameBehindAPostQuantumKeyShare) {
  const Octets message = hello::client_hello_with(
      hello::grease() + hello::encrypted_hello() + hello::post_quantum_share() +
      hello::usual_extensions() + hello::server_name("ok.example"));
  ASSERT_GT(message.size(), 1460U);
  EXPECT_EQ(parse_client_hello(hello::records(message))->name, name("ok.example"));
}

TEST(ClientHello, MayBeAlmost16KiBLong) {
  const Octets padding = hello::extension(21, Octets(16000));
  const Octets message = hello::client_hello_with(padding + hello::server_name("ok.example"));
  EXPECT_EQ(parse_client_hello(hello::records(message))->name, name("ok.example"));
}

TEST(ClientHello, OfMoreThan16KiBIsTooLongAsSoonAsItSaysSo) {
  const Octets message = hello::client_hello_with(hello::extension(21, Octets(16384)) +
                                                  hello::server_name("ok.example"));
  const Octets stream = hello::records(message);
  EXPECT_EQ(fault_of(stream), HelloFault::kTooLong);
  EXPECT_EQ(parse_client_hello(Bytes(stream).first(9)).error(), HelloFault::kTooLong);
  EXPECT_EQ(parse_client_hello(Bytes(stream).first(8)).error(), HelloFault::kIncomplete);
}

TEST(ClientHello, InRecordsTooSmallFor16KiBOfStreamIsTooLong) {
  const Octets message = hello::client_hello_with(hello::extension(21, Octets(4000)) +
                                                  hello::server_name("ok.example"));
  EXPECT_EQ(fault_of(hello::records(message, 1)), HelloFault::kTooLong);
}

TEST(ClientHello, KnowsALetterInAnyCaseAndADotAtTheEnd) {
  for (const char* const text : {"OK.Example", "ok.example.", "oK.eXAMPLE."}) {
    const auto parsed = parse_client_hello(hello::records(hello::client_hello(text)));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->name, name("ok.example"));
  }
}

TEST(ClientHello, WithoutANameHasNone) {
  for (const Octets& extensions : {hello::usual_extensions(), Octets{}}) {
    const auto parsed = parse_client_hello(hello::records(hello::client_hello_with(extensions)));
    ASSERT_TRUE(parsed);
    EXPECT_FALSE(parsed->name);
  }
  // Without the extensions' own length: TLS 1.0 to 1.2.
  const Octets old = hello::message(1, Octets{3, 1} + Octets(32) + Octets{0, 0, 2, 0, 47, 1, 0});
  const auto parsed = parse_client_hello(hello::records(old));
  ASSERT_TRUE(parsed);
  EXPECT_FALSE(parsed->name);
}

TEST(ClientHello, WithAnythingButOneNameIsRefused) {
  const auto list = [](const Octets& entries) {
    return hello::extension(0, hello::sized(2, entries));
  };
  const Octets one = hello::name_entry("ok.example");
  const Octets other = hello::name_entry("evil.example");
  for (const Octets& extension :
       {list(one + other), list(one + one), list({}), list(hello::name_entry("ok.example", 1)),
        list(hello::name_entry("x", 1) + one), hello::extension(0, {}),
        hello::extension(0, hello::sized(2, one) + Octets{0}), list(one + Octets{0}),
        hello::server_name("ok.example") + hello::server_name("evil.example"),
        hello::server_name("ok.example") + hello::server_name("ok.example")}) {
    EXPECT_EQ(fault_of(hello::records(hello::client_hello_with(extension))), HelloFault::kBadName);
  }
}

TEST(ClientHello, WithANameThatIsNoneIsRefused) {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {""sv, "."sv, "..ok.example"sv, "ok..example"sv, "ok.example\0"sv, "ok.example\0.evil"sv,
        "ok.example:443"sv, "[2001:db8::1]"sv, "2001:db8::1"sv, "ok example"sv,
        "ok.exampl\xc3\xa9"sv, "*.example"sv, "ok\\.example"sv}) {
    EXPECT_EQ(fault_of(hello::records(hello::client_hello(text))), HelloFault::kBadName) << text;
  }
  EXPECT_EQ(fault_of(hello::records(hello::client_hello(std::string(64, 'a') + ".example"))),
            HelloFault::kBadName);
  // An IPv4 literal is a name of digits, and nobody's.
  EXPECT_EQ(parse_client_hello(hello::records(hello::client_hello("198.51.100.7")))->name,
            name("198.51.100.7"));
}

TEST(ClientHello, TellsWhetherItHidesAnother) {
  const auto parsed = [](const Octets& extensions) {
    return parse_client_hello(
        hello::records(hello::client_hello_with(hello::server_name("ok.example") + extensions)));
  };
  EXPECT_TRUE(parsed(hello::encrypted_hello())->has_encrypted_hello);
  EXPECT_EQ(parsed(hello::encrypted_hello())->name, name("ok.example"));
  EXPECT_TRUE(parsed(hello::extension(0xffce, Octets(16)))->has_encrypted_hello) << "ESNI";
  EXPECT_TRUE(parsed(hello::extension(0xfe09, Octets(16)))->has_encrypted_hello) << "draft 9";
  EXPECT_FALSE(parsed(hello::grease())->has_encrypted_hello);
  EXPECT_FALSE(parsed(hello::extension(0xfe0e, {}))->has_encrypted_hello);
}

TEST(ClientHello, TellsWhetherEarlyDataFollows) {
  const Octets message =
      hello::client_hello_with(hello::server_name("ok.example") + hello::early_data());
  EXPECT_TRUE(parse_client_hello(hello::records(message))->has_early_data);
}

TEST(ClientHello, IsNotTlsWhereNoRecordCouldBegin) {
  for (const Octets& stream :
       {Octets{'G', 'E', 'T', ' ', '/'}, Octets{0x17, 3, 3, 0, 1}, Octets{0x16, 2, 0}, Octets{0x15},
        // SSL 2.0: a length, CLIENT-HELLO, a version, three lengths, ciphers, a challenge.
        Octets{0x80, 0x1c, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 47} + Octets(16, 0x33)}) {
    EXPECT_EQ(fault_of(stream), HelloFault::kNotTls);
  }
}

TEST(ClientHello, IsMalformedWhereItHasNoOneReading) {
  const Octets good = hello::client_hello("ok.example");
  Octets long_session = good;
  long_session[4 + 34] = 255;
  Octets cut_extensions = good;
  cut_extensions.pop_back();
  cut_extensions[3] = static_cast<std::uint8_t>(cut_extensions[3] - 1);
  Octets with_rest = good + Octets{0};
  with_rest[3] = static_cast<std::uint8_t>(with_rest[3] + 1);
  const Octets half(good.begin(), good.begin() + 40);
  const Octets rest(good.begin() + 40, good.end());
  Octets wrong_version = hello::records(half) + hello::records(rest);
  wrong_version[hello::records(half).size() + 1] = 4;
  for (const Octets& stream :
       {hello::records(long_session), hello::records(cut_extensions), hello::records(with_rest),
        hello::records(hello::message(2, Octets(40))),  // a ServerHello
        hello::records(hello::message(1, {})),          // an empty one
        hello::records(good + good),                    // two in one record
        hello::record(22, {}) + hello::records(good),   // an empty fragment
        hello::records(half) + hello::record(20, {1}) + hello::records(rest),
        hello::records(half) + hello::record(21, {1, 0}) + hello::records(rest), wrong_version}) {
    EXPECT_EQ(fault_of(stream), HelloFault::kMalformed);
  }
}

TEST(ClientHello, InARecordLongerThanARecordMayBeIsMalformed) {
  const Octets stream = Octets{22, 3, 1, 0x40, 0x01} + hello::client_hello("ok.example");
  EXPECT_EQ(fault_of(stream), HelloFault::kMalformed);
}

TEST(ServerAnswer, IsARetryOrAnythingElse) {
  EXPECT_EQ(read_server_answer(hello::records(hello::retry_request())), ServerAnswer::kRetry);
  EXPECT_EQ(read_server_answer(hello::records(hello::server_hello())), ServerAnswer::kOther);
  EXPECT_EQ(read_server_answer(hello::record(21, {2, 40})), ServerAnswer::kOther);
  EXPECT_EQ(read_server_answer(hello::octets_of("220 mail.example")), ServerAnswer::kOther);
  EXPECT_EQ(read_server_answer(hello::records(hello::message(2, {3, 3}))), ServerAnswer::kOther);
}

TEST(ServerAnswer, IsKnownFromItsFirst43OctetsHoweverTheyCome) {
  for (const std::size_t size : {1, 2, 3, 7, 37, 38, 100}) {
    const Octets stream = hello::records(hello::retry_request(), size);
    bool is_known = false;
    for (std::size_t seen = 0; seen <= stream.size(); ++seen) {
      const ServerAnswer answer = read_server_answer(Bytes(stream).first(seen));
      EXPECT_NE(answer, ServerAnswer::kOther) << size << " " << seen;
      EXPECT_FALSE(is_known && answer == ServerAnswer::kIncomplete);
      is_known = is_known || answer == ServerAnswer::kRetry;
    }
    EXPECT_TRUE(is_known);
  }
}

TEST(FirstTlsRecord, TellsTypeAndSize) {
  const Octets stream = hello::record(23, Octets(300));
  EXPECT_FALSE(first_tls_record(Bytes(stream).first(4)));
  EXPECT_EQ(first_tls_record(stream)->content_type, tls_content::kApplicationData);
  EXPECT_EQ(first_tls_record(stream)->octets, 305U);
}

}  // namespace
}  // namespace cordon
