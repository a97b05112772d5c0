// RFC 9110, RFC 9112: one request's head and body, to the octet.
#include "netstack/names/http_request.h"

#include <string>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using namespace std::string_view_literals;

Bytes octets(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

DnsName name(std::string_view text) { return DnsName::parse(text).value_or(DnsName()); }

auto parse(std::string_view text) { return parse_http_request(octets(text)); }

HttpFault fault_of(std::string_view text) {
  const auto parsed = parse(text);
  EXPECT_FALSE(parsed.has_value()) << text;
  return parsed ? HttpFault::kIncomplete : parsed.error();
}

/// A request to ok.example with these lines more.
std::string with(std::string_view lines) {
  return "POST / HTTP/1.1\r\nHost: ok.example\r\n" + std::string(lines) + "\r\n";
}

TEST(HttpRequest, TellsHostAndEndOfItsHead) {
  const std::string_view head = "GET /a?b HTTP/1.1\r\nHost: ok.example\r\nAccept: */*\r\n\r\n";
  const auto parsed = parse(std::string(head) + "GET /next HTTP/1.1\r\n");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->host, name("ok.example"));
  EXPECT_EQ(parsed->octets, head.size());
  EXPECT_EQ(parsed->body_octets, 0U);
  EXPECT_FALSE(parsed->is_chunked);
  EXPECT_FALSE(parsed->has_upgrade);
}

TEST(HttpRequest, IsIncompleteAtEveryOctetBeforeItsLast) {
  const std::string text = with("Content-Length: 5\r\n");
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(fault_of(text.substr(0, size)), HttpFault::kIncomplete) << size;
  }
  EXPECT_EQ(parse(text)->body_octets, 5U);
}

TEST(HttpRequest, MayHaveEmptyLinesBeforeIt) {
  const std::string_view text = "\r\n\r\nGET / HTTP/1.1\r\nHost: ok.example\r\n\r\n";
  EXPECT_EQ(parse(text)->octets, text.size());
}

TEST(HttpRequest, NamesItsHostInAnyCaseWithPortAndDot) {
  for (const auto value : {"ok.example"sv, "OK.EXAMPLE"sv, "ok.example."sv, "ok.example:80"sv,
                           "ok.example:"sv, "  ok.example \t"sv}) {
    const auto parsed = parse("GET / HTTP/1.1\r\nhOST:" + std::string(value) + "\r\n\r\n");
    ASSERT_TRUE(parsed) << value;
    EXPECT_EQ(parsed->host, name("ok.example"));
  }
}

TEST(HttpRequest, InHttp10MayNameNobody) {
  const auto parsed = parse("GET / HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(parsed);
  EXPECT_FALSE(parsed->host);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\n\r\n"), HttpFault::kHost);
}

TEST(HttpRequest, WithAnAbsoluteTargetIsForTheHostInIt) {
  for (const auto target : {"http://ok.example"sv, "http://ok.example/"sv,
                            "HTTP://OK.example:80/x"sv, "https://ok.example?q"sv}) {
    const auto both = parse("GET " + std::string(target) + " HTTP/1.1\r\nHost: ok.example\r\n\r\n");
    ASSERT_TRUE(both) << target;
    EXPECT_EQ(both->host, name("ok.example"));
    const auto alone = parse("GET " + std::string(target) + " HTTP/1.0\r\n\r\n");
    ASSERT_TRUE(alone) << target;
    EXPECT_EQ(alone->host, name("ok.example"));
    EXPECT_EQ(fault_of("GET " + std::string(target) + " HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
              HttpFault::kHost);
  }
}

TEST(HttpRequest, WithAHostThatIsNotOneIsRefused) {
  for (const auto lines :
       {"Host: ok.example\r\nHost: evil.example"sv, "Host: ok.example\r\nHost: ok.example"sv,
        "Host:"sv, "Host: ok.example, evil.example"sv, "Host: ok.example@evil.example"sv,
        "Host: evil.example/ok.example"sv, "Host: [2001:db8::1]"sv, "Host: ok.example:80:80"sv,
        "Host: ok.example:http"sv, "Host: ok.example:123456"sv, "Host: ok..example"sv,
        "Host: ok example"sv, "Host: ok\xc3\xa9.example"sv}) {
    EXPECT_EQ(fault_of("GET / HTTP/1.1\r\n" + std::string(lines) + "\r\n\r\n"), HttpFault::kHost)
        << lines;
  }
}

TEST(HttpRequest, WithAnAbsoluteTargetOfTwoReadingsIsRefused) {
  for (const auto target :
       {"http://ok.example@evil.example/"sv, "http://ok.example\\@evil.example/"sv,
        "http://ok.example#@evil.example/"sv, "http:///"sv, "http://[::1]/"sv}) {
    EXPECT_EQ(fault_of("GET " + std::string(target) + " HTTP/1.1\r\nHost: ok.example\r\n\r\n"),
              HttpFault::kHost)
        << target;
  }
}

struct FramingRow {
  const char* name;
  const char* lines;
};

class HttpFraming : public testing::TestWithParam<FramingRow> {};

TEST_P(HttpFraming, WithTwoReadingsIsRefused) {
  EXPECT_EQ(fault_of(with(GetParam().lines)), HttpFault::kFraming);
}

INSTANTIATE_TEST_SUITE_P(
    Rfc9112Section6, HttpFraming,
    testing::Values(
        FramingRow{"LengthAndCoding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"},
        FramingRow{"CodingAndLength", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"},
        FramingRow{"TwoLengths", "Content-Length: 5\r\nContent-Length: 6\r\n"},
        FramingRow{"OneLengthTwice", "Content-Length: 5\r\nContent-Length: 5\r\n"},
        FramingRow{"ListOfLengths", "Content-Length: 5, 5\r\n"},
        FramingRow{"SignedLength", "Content-Length: +5\r\n"},
        FramingRow{"NegativeLength", "Content-Length: -5\r\n"},
        FramingRow{"HexLength", "Content-Length: 0x5\r\n"},
        FramingRow{"EmptyLength", "Content-Length:\r\n"},
        FramingRow{"EndlessLength", "Content-Length: 9999999999999999999\r\n"},
        FramingRow{"CodingTwice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
        FramingRow{"ChunkedTwice", "Transfer-Encoding: chunked, chunked\r\n"},
        FramingRow{"Identity", "Transfer-Encoding: identity\r\n"},
        FramingRow{"GzipLast", "Transfer-Encoding: chunked, gzip\r\n"},
        FramingRow{"ChunkedWithParameter", "Transfer-Encoding: chunked;q=1\r\n"},
        FramingRow{"QuotedChunked", "Transfer-Encoding: \"chunked\"\r\n"},
        FramingRow{"EmptyCoding", "Transfer-Encoding:\r\n"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(HttpFraming, OfACodingInHttp10IsRefused) {
  EXPECT_EQ(fault_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), HttpFault::kFraming);
}

TEST(HttpFraming, ByLengthOrByChunksIsKnown) {
  EXPECT_EQ(parse(with("Content-Length: 123456789012345678\r\n"))->body_octets,
            123456789012345678U);
  EXPECT_EQ(parse(with("Content-Length: 0\r\n"))->body_octets, 0U);
  EXPECT_TRUE(parse(with("transfer-encoding: Chunked\r\n"))->is_chunked);
}

class HttpMalformed : public testing::TestWithParam<std::string_view> {};

TEST_P(HttpMalformed, IsRefused) { EXPECT_EQ(fault_of(GetParam()), HttpFault::kMalformed); }

INSTANTIATE_TEST_SUITE_P(
    Rfc9112Section2To5, HttpMalformed,
    testing::Values("GET / HTTP/1.1\nHost: ok.example\n\n"sv,                      // lone LF
                    "GET / HTTP/1.1\r\nHost: ok.example\n\r\n"sv,                  //
                    "GET / HTTP/1.1\r\nHost: ok.example\rX: y\r\n\r\n"sv,          // lone CR
                    "GET / HTTP/1.1\r\r\nHost: ok.example\r\n\r\n"sv,              //
                    "GET / HTTP/1.1\r\nHost: ok.example\r\nX: a\r\n b\r\n\r\n"sv,  // folded
                    "GET / HTTP/1.1\r\nHost: ok.example\r\n\tb: c\r\n\r\n"sv,      //
                    "GET / HTTP/1.1\r\n Host: ok.example\r\n\r\n"sv,               //
                    "GET / HTTP/1.1\r\nHost : ok.example\r\n\r\n"sv,             // before the colon
                    "GET / HTTP/1.1\r\nHost\t: ok.example\r\n\r\n"sv,            //
                    "GET / HTTP/1.1\r\nHost: ok.example\r\nX\r\n\r\n"sv,         // no colon
                    "GET / HTTP/1.1\r\nHost: ok.example\r\n: x\r\n\r\n"sv,       // no name
                    "GET / HTTP/1.1\r\nHost: ok.example\r\nX: a\0b\r\n\r\n"sv,   // NUL
                    "GET / HTTP/1.1\r\nHost: ok.example\r\nX: a\x0b\r\n\r\n"sv,  //
                    "GET / HTTP/1.1\r\nHost: ok.example\r\nX\x7f: a\r\n\r\n"sv,  //
                    "GET / HTTP/1.2\r\nHost: ok.example\r\n\r\n"sv,              // versions
                    "GET / http/1.1\r\nHost: ok.example\r\n\r\n"sv,              //
                    "GET / HTTP/1.10\r\nHost: ok.example\r\n\r\n"sv,             //
                    "GET / HTTP/3.0\r\nHost: ok.example\r\n\r\n"sv,              //
                    "GET  / HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,             // blanks
                    "GET\t/\tHTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,            //
                    "GET / HTTP/1.1 \r\nHost: ok.example\r\n\r\n"sv,             //
                    " GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,             //
                    "GET /a b HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,           //
                    "G[T / HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,              // method
                    "GET ok.example HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,     // target
                    "GET ftp://ok.example/ HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv,  //
                    "GET \x80 HTTP/1.1\r\nHost: ok.example\r\n\r\n"sv));

TEST(HttpRequest, WithoutAVersionIsTooOld) {
  EXPECT_EQ(fault_of("GET /\r\n"), HttpFault::kVersion09);
  EXPECT_EQ(fault_of("GET http://evil.example/\r\n"), HttpFault::kVersion09);
}

TEST(HttpRequest, OfHttp2IsNotForUs) {
  EXPECT_EQ(fault_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HttpFault::kVersion2);
}

TEST(HttpRequest, ThatAsksForATunnelIsRefused) {
  EXPECT_EQ(fault_of("CONNECT evil.example:443 HTTP/1.1\r\nHost: ok.example\r\n\r\n"),
            HttpFault::kConnect);
  EXPECT_EQ(fault_of("connect ok.example:443 HTTP/1.1\r\nHost: ok.example\r\n\r\n"),
            HttpFault::kConnect);
}

TEST(HttpRequest, TellsWhetherItAsksForAnotherProtocol) {
  const auto web_socket = parse(with("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  EXPECT_TRUE(web_socket->has_upgrade);
  EXPECT_FALSE(web_socket->is_upgrade_to_http2);
  for (const auto value : {"h2c"sv, "H2C"sv, "websocket, h2c"sv, "HTTP/2.0"sv}) {
    const auto http2 = parse(with("Upgrade: " + std::string(value) + "\r\n"));
    EXPECT_TRUE(http2->has_upgrade);
    EXPECT_TRUE(http2->is_upgrade_to_http2) << value;
  }
}

TEST(GuessHttp, TakesForHttpWhatAnyServerCouldTakeForIt) {
  for (const auto text :
       {"GET / HTTP/1.1\r\n"sv, "GET /"sv, "get\t/"sv, "GET / HTTP/1.1"sv, "FOO bar HTTP/1.0\r\n"sv,
        "foo\tbar\thttp/1.1\r\n"sv, "\r\n\r\nGET /"sv, "\n\nPOST / HTTP/1.1\n"sv,
        "PRI * HTTP/2.0\r\n"sv, "  POST / HTTP/1.1"sv, "X\vY\fHTTP/1.1\n"sv}) {
    EXPECT_EQ(guess_http(octets(text), false), HttpGuess::kHttp) << text;
  }
}

TEST(GuessHttp, WaitsWhileALineOfWordsMayBecomeARequest) {
  for (const auto text : {"G"sv, "GET"sv, "SSH-2.0-OpenSSH_9.2p1"sv, "FOO bar HTTP"sv, "\r\n"sv,
                          "PRI *"sv, "EHLO client.example"sv, " "sv, "POST /\xc3\xa9"sv}) {
    EXPECT_EQ(guess_http(octets(text), false), HttpGuess::kUndecided) << text;
    EXPECT_EQ(guess_http(octets(text), true), HttpGuess::kOther) << text;
  }
}

TEST(GuessHttp, IsTheSameHoweverFewOctetsAreThere) {
  for (const auto text : {"POST /\x01 HTTP/1.1\r\n"sv, "G\xffT / HTTP/1.1\r\n"sv,
                          "POST /\0 HTTP/1.1\r\n"sv, "POST \x80 HTTP/1.1\n"sv}) {
    const HttpGuess whole = guess_http(octets(text), false);
    for (std::size_t size = 1; size < text.size(); ++size) {
      const HttpGuess part = guess_http(octets(text.substr(0, size)), false);
      EXPECT_TRUE(part == whole || part == HttpGuess::kUndecided) << text << " " << size;
    }
  }
  EXPECT_EQ(guess_http(octets("POST /\x01 HTTP/1.1\r\n"), false), HttpGuess::kHttp);
}

TEST(GuessHttp, LetsOtherProtocolsGo) {
  for (const auto text :
       {"SSH-2.0-OpenSSH_9.2p1\r\n"sv, "EHLO client.example\r\n"sv, "*1\r\n"sv, "\x01"sv, "\0"sv,
        "\x80\x2e\x01"sv, "AMQP\0\0\x09\x01"sv, "<?xml version='1.0'?><stream:stream "sv,
        "{\"id\": 1"sv, "@RSYNCD: 31.0"sv, "0032git-upload-pack /project.git\0host=ok.example\0"sv,
        "\0\0\0\x08\x04\xd2\x16\x2f"sv, "a1 LOGIN user password\r\n"sv, "8=FIX.4.4\x01"sv,
        "\xff\xfb\x18"sv, "GETTING STARTED\r\n"sv}) {
    EXPECT_EQ(guess_http(octets(text), false), HttpGuess::kOther) << text;
  }
}

/// Feeds `text` to the reader, `window` octets visible at a time, as a stream would show them.
std::expected<std::uint64_t, HttpFault> walk(std::string_view text, std::size_t window) {
  ChunkedBody body;
  std::uint64_t done = 0;
  std::size_t visible = window;
  while (true) {
    const std::size_t end = std::min(text.size(), done + visible);
    const auto step = body.advance(octets(text.substr(done, end - done)));
    if (!step) {
      if (step.error() != HttpFault::kIncomplete) return std::unexpected(step.error());
      if (end == text.size()) return std::unexpected(HttpFault::kIncomplete);
      ++visible;
      continue;
    }
    done += step->octets;
    visible = window;
    if (step->is_end) return done;
    if (done > text.size()) return std::unexpected(HttpFault::kIncomplete);
    if (done == text.size()) return std::unexpected(HttpFault::kIncomplete);
  }
}

TEST(ChunkedBody, EndsBehindItsLastEmptyLineHoweverMuchIsSeen) {
  const std::string body =
      "5\r\nhello\r\n1A;name=value\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\n";
  for (std::size_t window = 1; window <= body.size() + 10; ++window) {
    const auto done = walk(body + "GET / HTTP/1.1\r\n", window);
    ASSERT_TRUE(done) << window;
    EXPECT_EQ(*done, body.size()) << window;
  }
}

TEST(ChunkedBody, KnowsAChunkThatIsNotThereYet) {
  ChunkedBody body;
  const auto step = body.advance(octets("100000\r\nabc"));
  ASSERT_TRUE(step);
  EXPECT_EQ(step->octets, 8U + 0x100000U);
  EXPECT_FALSE(step->is_end);
  // And then its end.
  EXPECT_EQ(body.advance(octets("x")).error(), HttpFault::kIncomplete);
  EXPECT_EQ(body.advance(octets("\r")).error(), HttpFault::kIncomplete);
  EXPECT_EQ(body.advance(octets("\r\n0\r\n\r\n"))->octets, 7U);
}

class ChunkedBodyMalformed : public testing::TestWithParam<std::string_view> {};

TEST_P(ChunkedBodyMalformed, IsRefused) {
  const auto done = walk(GetParam(), 1024);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), HttpFault::kFraming);
}

INSTANTIATE_TEST_SUITE_P(
    Rfc9112Section7, ChunkedBodyMalformed,
    testing::Values("5\nhello\r\n0\r\n\r\n"sv, "5\r\nhello\n0\r\n\r\n"sv,
                    "5\r\nhelloX\r\n0\r\n\r\n"sv, "\r\nhello\r\n"sv, "0x5\r\nhello\r\n"sv,
                    "-5\r\nhello\r\n"sv, " 5\r\nhello\r\n"sv, "5 x\r\nhello\r\n"sv,
                    "5;a\nb\r\nhello\r\n"sv, "5;a\0b\r\nhello\r\n"sv, "g\r\n"sv,
                    "1000000000000000\r\n"sv, "ffffffffffffffffff\r\n"sv,
                    "0\r\nHost: evil.example\r\n\r\n"sv, "0\r\nContent-Length: 5\r\n\r\n"sv,
                    "0\r\nTransfer-Encoding: chunked\r\n\r\n"sv, "0\r\n X: y\r\n\r\n"sv,
                    "0\r\nX\r\n\r\n"sv, "0\r\nX: y\n\r\n"sv));

TEST(ChunkedBody, WithASizeLineThatDoesNotEndIsRefused) {
  ChunkedBody body;
  EXPECT_EQ(body.advance(octets("5;" + std::string(5000, 'x'))).error(), HttpFault::kFraming);
}

TEST(HttpAnswer, TellsItsStatusAndTheEndOfItsHead) {
  EXPECT_EQ(parse_http_answer(octets("HTTP/1.1 101 Switching Protocols\r\n"))->status, 101U);
  EXPECT_EQ(parse_http_answer(octets("HTTP/1.1 101 Switching Protocols\r\n"))->head_octets, 0U);
  const auto interim = "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"sv;
  EXPECT_EQ(parse_http_answer(octets(std::string(interim) + "HTTP/1.1 200"))->head_octets,
            interim.size());
  EXPECT_EQ(parse_http_answer(octets("HTTP/1.1 100 C\n\nHTTP"))->head_octets, 16U);
  EXPECT_EQ(parse_http_answer(octets("HTTP/1.1 200\r\n"))->status, 200U);
}

TEST(HttpAnswer, IsIncompleteOrNone) {
  const auto line = "HTTP/1.1 101 "sv;
  for (std::size_t size = 0; size < line.size(); ++size) {
    EXPECT_EQ(parse_http_answer(octets(line.substr(0, size))).error(), HttpFault::kIncomplete);
  }
  for (const auto text : {"HTTP/2 200 \r\n\r\n"sv, "body"sv, "HTTP/1.1 1x1 x"sv, "HTTP/1.1 1010 "sv,
                          "HTTP/1.x 101 x"sv, "HTTP/1.1\t101 x"sv, "http/1.1 101 x"sv}) {
    EXPECT_EQ(parse_http_answer(octets(text)).error(), HttpFault::kMalformed) << text;
  }
}

TEST(HttpGuessInsideLine, FindsAVersionHoweverLittleIsKeptOfTheLine) {
  const std::string line = "POST /a/path HTTP/1.1\r\n";
  const std::size_t version = line.find("HTTP/");
  // From the white space before it on, everything that is needed is there.
  for (std::size_t from = 0; from < version; ++from) {
    EXPECT_EQ(guess_http_inside_line(octets(line.substr(from)), false), HttpGuess::kHttp) << from;
  }
  EXPECT_EQ(guess_http_inside_line(octets(line.substr(version)), false), HttpGuess::kOther);
  EXPECT_EQ(guess_http_inside_line(octets("no more than words"), false), HttpGuess::kUndecided);
  EXPECT_EQ(guess_http_inside_line(octets("no more than words"), true), HttpGuess::kOther);
  EXPECT_EQ(guess_http_inside_line(octets("words\n HTTP/1.1"), false), HttpGuess::kOther);
}

}  // namespace
}  // namespace cordon
