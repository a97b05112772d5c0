#include "launcher/verbs/doctor.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(DoctorReport, HasALineForEachCheckAndTheRemedyBelow) {
  const std::vector<Finding> findings{
      {.subject = "/proc", .words = "mounted"},
      {.level = Finding::Level::kMissing,
       .subject = "/dev/net/tun",
       .words = "Permission denied",
       .remedy = {"sudo chmod 0666 /dev/net/tun"}},
      {.level = Finding::Level::kNote, .subject = "ping", .words = "not permitted"},
  };
  EXPECT_EQ(doctor_report(findings, false),
            "ok       /proc         mounted\n"
            "missing  /dev/net/tun  Permission denied\n"
            "                       -> sudo chmod 0666 /dev/net/tun\n"
            "note     ping          not permitted\n"
            "\n"
            "cordon run cannot work here: one thing is missing.\n");
}

TEST(DoctorReport, NotesDoNotStandInTheWay) {
  const std::vector<Finding> findings{{.level = Finding::Level::kNote, .subject = "ping"}};
  EXPECT_TRUE(doctor_report(findings, false).ends_with("\ncordon run can work here.\n"));
}

TEST(ProbeHost, SaysARemedyForEverythingThatIsMissing) {
  const auto findings = probe_host();
  EXPECT_GE(findings.size(), 6U);
  for (const Finding& finding : findings) {
    EXPECT_FALSE(finding.words.empty()) << finding.subject;
    if (finding.level == Finding::Level::kMissing) {
      EXPECT_FALSE(finding.remedy.empty()) << finding.subject;
    }
  }
}

}  // namespace
}  // namespace cordon
