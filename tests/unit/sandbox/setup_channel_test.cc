#include "launcher/setup_channel.h"

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "sandbox/descriptors.h"

namespace cordon {
namespace {

class SetupChannel : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = open_packet_pair();
    ASSERT_TRUE(pair);
    near_ = std::move(pair->first);
    far_ = std::move(pair->second);
  }
  UniqueFd near_;
  UniqueFd far_;
};

TEST_F(SetupChannel, CarriesStepNumberAndText) {
  ASSERT_TRUE(send_setup(near_.get(), {.step = SetupStep::kFailed, .number = 13, .text = "words"}));
  const auto message = receive_setup(far_.get());
  ASSERT_TRUE(message);
  EXPECT_EQ(message->step, SetupStep::kFailed);
  EXPECT_EQ(message->number, 13);
  EXPECT_EQ(message->text, "words");
  EXPECT_TRUE(message->descriptors.empty());
}

TEST_F(SetupChannel, CarriesDescriptorsCloseOnExec) {
  auto pipe = open_pipe();
  ASSERT_TRUE(pipe);
  SetupMessage out{.step = SetupStep::kNetworkReady};
  out.descriptors.push_back(std::move(pipe->write));
  ASSERT_TRUE(send_setup(near_.get(), out));
  out.descriptors.clear();
  const auto in = receive_setup(far_.get());
  ASSERT_TRUE(in);
  ASSERT_EQ(in->descriptors.size(), 1U);
  EXPECT_EQ(::fcntl(in->descriptors[0].get(), F_GETFD), FD_CLOEXEC);
  ASSERT_EQ(::write(in->descriptors[0].get(), "x", 1), 1);
  char octet = 0;
  EXPECT_EQ(::read(pipe->read.get(), &octet, 1), 1);
}

TEST_F(SetupChannel, CutsATextThatIsTooLong) {
  ASSERT_TRUE(send_setup(near_.get(), {.text = std::string(100'000, 'x')}));
  const auto message = receive_setup(far_.get());
  ASSERT_TRUE(message);
  EXPECT_EQ(message->text, std::string(1024, 'x'));
}

TEST_F(SetupChannel, TellsTheEndFromAPacketOfAnotherSize) {
  ASSERT_EQ(::write(near_.get(), "abc", 3), 3);
  EXPECT_EQ(receive_setup(far_.get()).error().code, EPROTO);
  ASSERT_EQ(::write(near_.get(), "abc", 3), 3);
  EXPECT_EQ(receive_order(far_.get()).error().code, EPROTO);
  near_.reset();
  EXPECT_EQ(receive_setup(far_.get()).error().code, EPIPE);
  EXPECT_EQ(receive_order(far_.get()).error().code, EPIPE);
}

TEST_F(SetupChannel, CarriesOrders) {
  ASSERT_TRUE(send_order(near_.get(), 15));
  const auto order = receive_order(far_.get());
  ASSERT_TRUE(order);
  EXPECT_EQ(*order, 15);
}

}  // namespace
}  // namespace cordon
