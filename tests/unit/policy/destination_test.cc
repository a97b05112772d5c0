#include "netstack/policy/destination.h"

#include <string>

#include <gtest/gtest.h>

namespace cordon {
namespace {

struct GoodRow {
  const char* text;
  const char* canonical;
};

constexpr GoodRow kGoodRows[] = {
    {"198.51.100.7", "198.51.100.7"},
    {"198.51.100.7/32", "198.51.100.7"},
    {"198.51.100.7:443", "198.51.100.7:443"},
    {"tcp/198.51.100.7:443", "198.51.100.7:443"},
    {"tcp/198.51.100.7", "tcp/198.51.100.7"},
    {"udp/198.51.100.7:123", "udp/198.51.100.7:123"},
    {"udp/198.51.100.7", "udp/198.51.100.7"},
    {"icmp/198.51.100.7", "icmp/198.51.100.7"},
    {"198.51.100.7:5000-5010", "198.51.100.7:5000-5010"},
    {"198.51.100.7:443-443", "198.51.100.7:443"},
    {"198.51.100.7:1-65535", "198.51.100.7:1-65535"},
    {"198.51.100.7:65535", "198.51.100.7:65535"},
    {"10.1.2.0/24", "10.1.2.0/24"},
    {"10.1.2.0/24:5432", "10.1.2.0/24:5432"},
    {"udp/10.1.2.0/24:1-1023", "udp/10.1.2.0/24:1-1023"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"::/0", "::/0"},
    {"2001:DB8:0:0::1", "2001:db8::1"},
    {"2001:db8::/48", "2001:db8::/48"},
    {"[2001:db8::/48]", "2001:db8::/48"},
    {"[2001:db8::/48]:443", "[2001:db8::/48]:443"},
    {"[2001:db8::1]:443", "[2001:db8::1]:443"},
    {"tcp/[2001:db8::1]:443", "[2001:db8::1]:443"},
    {"udp/[2001:db8::1]:53-54", "udp/[2001:db8::1]:53-54"},
    {"udp/2001:db8::1", "udp/2001:db8::1"},
    {"icmp/2001:db8::/32", "icmp/2001:db8::/32"},
    {"::ffff:10.0.0.0/104", "::ffff:a00:0/104"},
    {"@public", "@public"},
    {"@lan:443", "@lan:443"},
    {"tcp/@lan", "tcp/@lan"},
    {"tcp/@lan:443", "@lan:443"},
    {"@vpn", "@vpn"},
    {"@self:22", "@self:22"},
    {"@metadata", "@metadata"},
    {"@loopback", "@loopback"},
    {"@linklocal", "@linklocal"},
    {"udp/@multicast:5353", "udp/@multicast:5353"},
    {"@reserved", "@reserved"},
    {"icmp/@public", "icmp/@public"},
    {"host:5432", "host:5432"},
    {"tcp/host:5432", "host:5432"},
    {"udp/host:53", "udp/host:53"},
    {"host:8000-8010", "host:8000-8010"},
    {"pypi.org", "pypi.org"},
    {"PyPI.org.", "pypi.org"},
    {"tcp/pypi.org", "tcp/pypi.org"},
    {"github.com:22", "github.com:22"},
    {"tcp/github.com:22", "github.com:22"},
    {"db.corp:5000-5010", "db.corp:5000-5010"},
    {"udp/ntp.example:123", "udp/ntp.example:123"},
    {"icmp/gw.example", "icmp/gw.example"},
    {"*.pypi.org", "*.pypi.org"},
    {"*.Pypi.org.:443", "*.pypi.org:443"},
    {".pypi.org", ".pypi.org"},
    {"udp/.pypi.org:443", "udp/.pypi.org:443"},
    {"_xmpp._tcp.example.com", "_xmpp._tcp.example.com"},
    {"xn--bcher-kva.example", "xn--bcher-kva.example"},
    {"db-1", "db-1"},
    {"db", "db"},
    {"dead:443", "dead:443"},
    {"dead.beef.example:443", "dead.beef.example:443"},
    {"tcp.example", "tcp.example"},
    {"host.example", "host.example"},
    {"4.example", "4.example"},
};

TEST(ParseDestination, CanonicalTextReadsBackTheSame) {
  for (const GoodRow& row : kGoodRows) {
    const Result<Destination> parsed = parse_destination(row.text);
    ASSERT_TRUE(parsed) << row.text << ": " << parsed.error().message();
    EXPECT_EQ(format_destination(*parsed), row.canonical);
    const Result<Destination> again = parse_destination(row.canonical);
    ASSERT_TRUE(again) << row.canonical;
    EXPECT_EQ(*again, *parsed) << row.text;
  }
}

TEST(ParseDestination, AnAddressWithoutAPortIsForEveryProtocol) {
  const Result<Destination> parsed = parse_destination("198.51.100.0/24");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->kind, Destination::Kind::kPrefix);
  EXPECT_EQ(parsed->protocol, std::nullopt);
  EXPECT_TRUE(parsed->ports.is_all());
  EXPECT_EQ(parsed->prefix, Prefix(IpAddress::v4({198, 51, 100, 0}), 24));
}

TEST(ParseDestination, APortWithoutAProtocolIsTcp) {
  for (const char* const text : {"198.51.100.7:80", "[2001:db8::1]:80", "@lan:80", "host:80"}) {
    const Result<Destination> parsed = parse_destination(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->protocol, Protocol::kTcp) << text;
    EXPECT_EQ(parsed->ports, PortSet(80)) << text;
  }
}

struct BadRow {
  std::string_view text;
  unsigned character;       // where the error points
  std::string_view phrase;  // what it must say
};

constexpr BadRow kBadRows[] = {
    {"", 1, "empty"},
    {" ", 1, "blanks"},
    {" 198.51.100.7", 1, "blanks"},
    {"198.51.100.7 ", 13, "blanks"},
    {"198.51.100.7\n", 13, "blanks"},
    {"198.51.100.7\t:80", 13, "blanks"},
    {std::string_view("198.51.100.7\0:80", 16), 13, "control"},
    {"198.51.100.7\xc2\xa0", 13, "non-ASCII"},
    {"*", 1, "@public"},
    {"tcp/*", 5, "@public"},
    {"*:443", 1, "write @public:443 for the public internet"},
    {"*.com", 3, "as in *.example.com"},
    {".com", 2, "as in *.example.com"},
    {"*.com:443", 3, "too wide"},
    {"*.", 3, "a label is missing"},
    {".", 2, "a label is missing"},
    {"..", 2, "a label is missing"},
    {"..com", 2, "a label is missing"},
    {"*..com", 3, "a label is missing"},
    {"a..example", 3, "a label is missing"},
    {"a.example..", 11, "a label is missing"},
    {"*pypi.org", 1, "as in *.example.com"},
    {"**.pypi.org", 1, "covers every depth"},
    {"*.*.pypi.org", 3, "covers every depth"},
    {"api.*.pypi.org", 5, "covers every depth"},
    {"api-*.pypi.org", 5, "covers every depth"},
    {"-a.example", 1, "hyphen"},
    {"a-.example", 1, "hyphen"},
    {"b.-a.example", 3, "hyphen"},
    {"a!b.example", 2, "\"!\" has no place in a name"},
    {"a%b.example", 2, "has no place in a name"},
    {"b\xc3\xbc"
     "cher.example",
     2, "xn--"},
    {"example.com/simple", 12, "write example.com"},
    {"example.com/24:80", 12, "write example.com"},
    {"https://pypi.org/simple/", 1, "write pypi.org:443"},
    {"http://pypi.org", 1, "write pypi.org:80"},
    {"http://me:pw@pypi.org:8080/x", 1, "write pypi.org:8080"},
    {"https://198.51.100.7/", 1, "write 198.51.100.7:443"},
    {"git@github.com:org/repository.git", 1, "write github.com:22"},
    {"pypi.org,npmjs.org", 1, "a rule for each"},
    {"pypi.org:80,443", 10, "a rule for each"},
    {"pypi.org:https", 10, "write 443 for https"},
    {"pypi.org:", 10, "a port is missing"},
    {"10.0.0.0/8:443-", 16, "the range has no end: write 443-65535, or 443 for the one port"},
    {"[2001:db8::/48]:443-", 21, "the range has no end: write 443-65535, or 443 for"},
    {"2001:db8::/48:443-", 1, "in brackets: [2001:db8::/48]:443-65535"},
    {"2001:db8::1:443-", 1, "in brackets: [2001:db8::1]:443-65535"},
    {"pypi.org:443-", 14, "the range has no end"},
    {"@lan:-1024", 6, "the range has no beginning: write 1-1024, or 1024 for the one port"},
    {"host:65535-", 12, "write 65535-65535"},
    {"10.0.0.0/8:0443-", 12, "without leading zeros"},
    {"10.0.0.0/8:99999-", 12, "more than 65535"},
    {"10.0.0.0/8:-", 12, "a port is missing"},
    {"*:443-", 1, "write @public:443-65535"},
    {"pypi.org:0", 10, "no port 0"},
    {"pypi.org:443:80", 10, "not a port"},
    {"udp/ntp.example", 5, "udp/ntp.example:123"},
    {"icmp/pypi.org:80", 1, "icmp has no ports"},
    {"localhost", 1, "host:5432"},
    {"localhost:5432", 1, "host:5432"},
    {"db.localhost", 1, "host:5432"},
    {"Host:80", 1, "lower case, as in host:5432"},
    {"host.cordon.internal:80", 1, "host:5432"},
    {"public", 1, "written @public"},
    {"lan:443", 1, "written @lan"},
    {"vpn.", 1, "written @vpn"},
    {"0x7f.0.0.1", 1, "four numbers"},
    {"a.1", 1, "no name ends in a number"},
    {"a.0x1f", 1, "no name ends in a number"},
    {"198.51.100.7a.1:80", 1, "no name ends in a number"},
    {"[@lan]:443", 2, "only IPv6"},
    {"[pypi.org]:443", 2, "only IPv6"},
    {"tcp/", 5, "missing"},
    {"icmp/", 6, "missing"},
    {"sctp/198.51.100.7", 1, "tcp, udp and icmp"},
    {"TCP/198.51.100.7", 1, "tcp, udp and icmp"},
    {"tcp//198.51.100.7", 5, "missing"},
    {"udp/tcp/198.51.100.7", 5, "one protocol"},
    {"198.51.100", 1, "four numbers"},
    {"198.51.100.", 1, "four numbers"},
    {"198.51.100.7.", 1, "four numbers"},
    {"198.51.100.256", 1, "four numbers"},
    {"198.51.100.07", 1, "leading zeros"},
    {"2130706433", 1, "four numbers"},
    {"10/8", 1, "four numbers"},
    {"10.0.0.0/", 10, "from 0 to 32"},
    {"10.0.0.0/33", 10, "from 0 to 32"},
    {"10.0.0.0/08", 10, "from 0 to 32"},
    {"10.0.0.0/-1", 10, "from 0 to 32"},
    {"10.0.0.0/+8", 10, "from 0 to 32"},
    {"10.0.0.0/255.0.0.0", 10, "from 0 to 32"},
    {"10.0.0.0/8/8", 10, "from 0 to 32"},
    {"10.0.0.0/99999999999999999999", 10, "from 0 to 32"},
    {"10.1.2.3/24", 1, "write 10.1.2.0/24 for the network, or 10.1.2.3 for the one address"},
    {"10.1.2.3/0", 1, "write 0.0.0.0/0"},
    {"10.1.2.3/24:80", 1, "write 10.1.2.0/24"},
    {"2001:db8::1/32", 1, "write 2001:db8::/32"},
    {"[2001:db8::1/32]:80", 2, "write 2001:db8::/32"},
    {"2001:db8::/129", 12, "from 0 to 128"},
    {"2001:db8::/48:443", 1, "[2001:db8::/48]:443"},
    {"2001:db8:0:0:0:0:0:1:443", 1, "[2001:db8:0:0:0:0:0:1]:443"},
    {"2001:db8::1::2", 1, "not an IPv6 address"},
    {"2001:db8::12345", 1, "not an IPv6 address"},
    {":::", 1, "not an IPv6 address"},
    {"fe80::1%eth0", 1, "zone"},
    {"[fe80::1%eth0]:22", 2, "zone"},
    {"[2001:db8::1", 1, "not closed"},
    {"[2001:db8::1]443", 14, "only \":\" and a port"},
    {"[2001:db8::]/48:443", 13, "[2001:db8::/48]"},
    {"[]:443", 2, "missing"},
    {"[198.51.100.7]:443", 2, "only IPv6"},
    {"2001:db8::1]:443", 1, "not an IPv6 address"},
    {":443", 1, "missing"},
    {"198.51.100.7:", 14, "a port is missing"},
    {"198.51.100.7:0", 14, "no port 0"},
    {"198.51.100.7:0-65535", 14, "no port 0"},
    {"198.51.100.7:00", 14, "leading zeros"},
    {"198.51.100.7:080", 14, "leading zeros"},
    {"198.51.100.7:65536", 14, "more than 65535"},
    {"198.51.100.7:4294967376", 14, "more than 65535"},
    {"198.51.100.7:99999999999999999999", 14, "more than 65535"},
    {"198.51.100.7:-80", 14, "no beginning: write 1-80"},
    {"198.51.100.7:80-", 17, "no end: write 80-65535"},
    {"198.51.100.7:90-80", 14, "write 80-90"},
    {"198.51.100.7:80-90-100", 17, "not a port"},
    {"198.51.100.7:80,443", 14, "a rule for each"},
    {"198.51.100.7:http", 14, "write 80 for http"},
    {"198.51.100.7:0x50", 14, "a number from 1 to 65535"},
    {"198.51.100.7:+80", 14, "a number from 1 to 65535"},
    {"198.51.100.7:*", 14, "leave"},
    {"198.51.100.7:80/tcp", 14, "a number from 1 to 65535"},
    {"@", 2, "there is no class"},
    {"@internet", 2, "self, metadata, loopback, linklocal, lan, vpn"},
    {"@Public", 2, "there is no class"},
    {"@lan/24", 2, "there is no class"},
    {"@lan,@vpn", 2, "there is no class"},
    {"@lan:", 6, "a port is missing"},
    {"@lan:0", 6, "no port 0"},
    {"@@lan", 2, "there is no class"},
    {"host", 1, "host:5432"},
    {"host:", 6, "a port is missing"},
    {"host:0", 6, "no port 0"},
    {"host:*", 6, "leave"},
    {"host/24:80", 1, "no protocol \"host\""},
    {"icmp/host:80", 6, "tcp and udp"},
    {"icmp/host", 6, "tcp and udp"},
    {"icmp/198.51.100.7:80", 1, "icmp has no ports"},
    {"icmp/@public:80", 1, "icmp has no ports"},
    {"icmp/[2001:db8::1]:80", 1, "icmp has no ports"},
    {"!10.0.0.0/8", 1, "four numbers"},
    {"10.0.0.0/8,10.1.0.0/16", 10, "from 0 to 32"},
    {"10.0.0.1-10.0.0.9", 1, "as prefixes"},
};

TEST(ParseDestination, MalformedTextIsRefusedWithItsPlaceAndRemedy) {
  for (const BadRow& row : kBadRows) {
    const Result<Destination> parsed = parse_destination(row.text);
    ASSERT_FALSE(parsed) << row.text << " became " << format_destination(*parsed);
    const std::string message = parsed.error().message();
    EXPECT_NE(message.find("character " + std::to_string(row.character) + ":"), std::string::npos)
        << message;
    EXPECT_NE(message.find(row.phrase), std::string::npos) << message;
  }
}

TEST(ParseDestination, ErrorsQuoteTheTextWithoutItsControlCharacters) {
  const Result<Destination> parsed = parse_destination("\x1b[31mexample\"\n");
  ASSERT_FALSE(parsed);
  const std::string message = parsed.error().message();
  EXPECT_NE(message.find("\\x1b[31mexample\\x22\\x0a"), std::string::npos) << message;
  for (const char character : message) EXPECT_GE(static_cast<std::uint8_t>(character), 0x20);
}

TEST(ParseDestination, LongTextIsRefusedAndShortenedInTheError) {
  const Result<Destination> parsed = parse_destination(std::string(100000, '1'));
  ASSERT_FALSE(parsed);
  EXPECT_LT(parsed.error().message().size(), 600U);
}

}  // namespace
}  // namespace cordon
