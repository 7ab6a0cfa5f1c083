#include "support/fake_hub/setup.hpp"

#include <hf/sandbox/aliases.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <chrono>
#include <memory>
#include <string>

using hf::testing_support::fake_hub;
using hf::testing_support::hub_route;
using hf::testing_support::options_for;

namespace {

/// What was asked since the last look, by whom it was answered.
struct round_trips {
  std::size_t whoami;
  std::size_t create;
  std::size_t inspect;
  std::size_t proxy;
  std::size_t all;
};

round_trips take_round_trips(fake_hub& hub) {
  round_trips const out{hub.count(hub_route::whoami), hub.count(hub_route::create),
                        hub.count(hub_route::inspect), hub.count(hub_route::proxy),
                        hub.count(hub_route::any) - hub.count(hub_route::download)};
  hub.forget_requests();
  return out;
}

std::shared_ptr<hf::client> fresh_client(fake_hub const& hub) {
  return std::make_shared<hf::client>(hf::hf_jobs_launcher(options_for(hub)));
}

}  // namespace

TEST_CASE("calls cost the Hub and its proxy no round trip more than they need") {
  bool const common = GENERATE(false, true);
  INFO("common protocol only: " << common);
  fake_hub hub({.common_protocol = common});
  auto const client = fresh_client(hub);

  auto created = hf::sandbox::create(client);
  auto seen = take_round_trips(hub);
  CHECK(seen.whoami == 1);
  CHECK(seen.create == 1);
  // The rest is polling.
  CHECK(seen.all == 2 + seen.inspect + seen.proxy);

  auto const use = [&](hf::sandbox& sb) {
    CHECK(sb.exec({"true"}).ok());
    seen = take_round_trips(hub);
    CHECK(seen.proxy == 1);
    CHECK(seen.all == 1);
    sb.write_file("/tmp/small", "content");
    seen = take_round_trips(hub);
    CHECK(seen.proxy == 1);
    CHECK(seen.all == 1);
    CHECK(sb.read_file("/tmp/small") == "content");
    seen = take_round_trips(hub);
    CHECK(seen.proxy == 1);
    CHECK(seen.all == 1);
  };
  use(created);

  auto connected = hf::sandbox::connect(client, created.id());
  seen = take_round_trips(hub);
  CHECK(seen.inspect == 1);
  CHECK(seen.all == 1);
  use(connected);

  // Whoever names the namespace need not ask for it, with a client of its own either.
  auto again = hf::sandbox::connect(fresh_client(hub), "alice/" + created.id());
  seen = take_round_trips(hub);
  CHECK(seen.inspect == 1);
  CHECK(seen.all == 1);

  created.terminate();
  CHECK(take_round_trips(hub).all == 1);
  CHECK(hub.wait_for_no_jobs(std::chrono::seconds(30)));
  CHECK(hub.violations() == std::vector<std::string>());
}
