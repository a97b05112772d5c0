#include "launcher/audit/verdicts.h"

#include <gtest/gtest.h>

namespace cordon::audit {
namespace {

Row row_of(const Observations& observations, Leak leak) {
  return judge(observations)[static_cast<std::size_t>(leak)];
}

TEST(Verdict, IsALeakWhereAServerHeardItWhateverTheProberBelieves) {
  Observations seen;
  seen.reports = {{Leak::kLoopbackV4, Outcome::kRefused, "refused"}};
  seen.heard.add(Leak::kLoopbackV4, {.words = "tcp reached 127.0.0.1"});
  const Row row = row_of(seen, Leak::kLoopbackV4);
  EXPECT_EQ(row.state, State::kLeaks);
  EXPECT_EQ(row.words, std::vector<std::string>{"tcp reached 127.0.0.1"});
}

TEST(Verdict, IsCleanWhereNothingWasHeardThoughSomethingAnsweredInside) {
  Observations seen;
  seen.reports = {{Leak::kLoopbackV4, Outcome::kConnected, "somebody's"},
                  {Leak::kLoopbackV4, Outcome::kSent, "gone"}};
  EXPECT_EQ(row_of(seen, Leak::kLoopbackV4).state, State::kClean);
}

TEST(Verdict, OfAPlaceWithoutAServerIsALeakWhereSomethingAccepts) {
  Observations seen;
  seen.reports = {{Leak::kMetadata, Outcome::kConnected, "tcp 169.254.169.254:80: accepted"}};
  EXPECT_EQ(row_of(seen, Leak::kMetadata).state, State::kLeaks);
  seen.reports = {{Leak::kMetadata, Outcome::kRefused, "refused"}};
  EXPECT_EQ(row_of(seen, Leak::kMetadata).state, State::kClean);
}

TEST(Verdict, AsksForTheSecretWhereThereIsOne) {
  Observations seen;
  seen.secrets[Leak::kProcessSecrets] = "0011";
  seen.reports = {{Leak::kProcessSecrets, Outcome::kObtained, "9999"}};
  EXPECT_EQ(row_of(seen, Leak::kProcessSecrets).state, State::kClean);
  seen.reports = {{Leak::kProcessSecrets, Outcome::kObtained, "0011"}};
  const Row row = row_of(seen, Leak::kProcessSecrets);
  EXPECT_EQ(row.state, State::kLeaks);
  EXPECT_EQ(row.words.front().find("0011"), std::string::npos) << "a secret is not printed";
}

TEST(Verdict, IsNotTestedWhereNobodyCouldHaveHeardWhatWasNotRefused) {
  Observations seen;
  seen.unheard[Leak::kNbns] = "no listener";
  seen.reports = {{Leak::kNbns, Outcome::kSent, "255.255.255.255:137"}};
  EXPECT_EQ(row_of(seen, Leak::kNbns).state, State::kNotTested);
  EXPECT_EQ(row_of(seen, Leak::kNbns).words, std::vector<std::string>{"no listener"});
  seen.reports = {{Leak::kNbns, Outcome::kRefused, "Network is unreachable"}};
  EXPECT_EQ(row_of(seen, Leak::kNbns).state, State::kClean);
}

TEST(Verdict, IsNotTestedWhereItCannotBeOrTheProberSaidNothing) {
  Observations seen;
  EXPECT_EQ(row_of(seen, Leak::kEcho).state, State::kNotTested);
  seen.cannot[Leak::kEcho] = "no address";
  seen.reports = {{Leak::kEcho, Outcome::kRefused, "x"}};
  EXPECT_EQ(row_of(seen, Leak::kEcho).state, State::kNotTested);
  seen.heard.add(Leak::kEcho, {.words = "heard"});
  EXPECT_EQ(row_of(seen, Leak::kEcho).state, State::kLeaks);
  seen = {};
  seen.reports = {{Leak::kGateway, Outcome::kNotTested, "no gateway of its own"}};
  EXPECT_EQ(row_of(seen, Leak::kGateway).state, State::kNotTested);
}

TEST(Verdict, OfNamesIsByDesignWherePublicMayBeReachedButNeverOfThisHost) {
  Observations seen;
  seen.heard.add(Leak::kDnsNames, {Notice::Kind::kLeft, "left by eth0"});
  EXPECT_EQ(row_of(seen, Leak::kDnsNames).state, State::kLeaks);
  seen.lets_public_out = true;
  EXPECT_EQ(row_of(seen, Leak::kDnsNames).state, State::kByDesign);
  seen.heard.add(Leak::kLan, {Notice::Kind::kLeft, "left by eth0"});
  EXPECT_EQ(row_of(seen, Leak::kLan).state, State::kLeaks);
  seen.heard.add(Leak::kDnsServers, {Notice::Kind::kHeard, "reached 198.51.100.2:53"});
  EXPECT_EQ(row_of(seen, Leak::kDnsServers).state, State::kLeaks);
}

TEST(Evidence, IsKeptOnceAndBounded) {
  Evidence evidence;
  for (int i = 0; i < 1000; ++i) {
    evidence.add(Leak::kEcho, {.words = std::to_string(i)});
    evidence.add(Leak::kEcho, {.words = "same"});
  }
  EXPECT_EQ(evidence.of(Leak::kEcho).size(), Evidence::kMostNotices);
  EXPECT_TRUE(evidence.of(Leak::kLan).empty());
}

}  // namespace
}  // namespace cordon::audit
