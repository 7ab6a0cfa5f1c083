#include "host/create_request.hpp"
#include "host/uid_pool.hpp"
#include "host/user_processes.hpp"
#include "http/exchange.hpp"
#include "support/in_child.hpp"

#include <catch2/catch_test_macros.hpp>
#include <unistd.h>

using namespace hf::agent;

TEST_CASE("user ids: taken ones are passed over, the last returned one comes first", "[host]") {
  uid_pool pool({20'001}, 20'000, 20'003);
  CHECK(pool.take() == 20'000u);
  CHECK(pool.take() == 20'002u);
  CHECK(pool.take() == 20'003u);
  CHECK_FALSE(pool.take());
  CHECK(pool.in_use(20'002));
  pool.give_back(20'002);
  CHECK_FALSE(pool.in_use(20'002));
  pool.give_back(20'000);
  // Giving back twice, or what was never handed out, changes nothing.
  pool.give_back(20'000);
  pool.give_back(20'001);
  CHECK(pool.take() == 20'000u);
  CHECK(pool.take() == 20'002u);
  CHECK_FALSE(pool.take());
}

TEST_CASE("user ids of processes and accounts are known", "[host]") {
  CHECK(uids_of_processes().count(::getuid()) == 1);
  CHECK(uids_of_others().count(0) == 1);
}

TEST_CASE("requests for sandboxes: defaults and members", "[host]") {
  auto const plain = parse_create_request("");
  CHECK(plain.count == 1);
  CHECK(plain.max_procs == 256);
  CHECK(plain.max_mem_mb == 2048);
  CHECK(plain.idle_timeout_secs == 0);
  auto const full = parse_create_request(
      R"({"count":3,"max_procs":4096,"max_mem_mb":1,"idle_timeout_secs":9,"env":{"A":"x","B":true},"other":[1]})");
  CHECK(full.count == 3);
  CHECK(full.max_procs == 4096);
  CHECK(full.max_mem_mb == 1);
  CHECK(full.idle_timeout_secs == 9);
  CHECK(full.env == std::map<std::string, std::string>{{"A", "x"}, {"B", "true"}});
  CHECK(parse_create_request("[1]").count == 1);
  CHECK(parse_create_request("{").count == 1);
  CHECK_THROWS_AS(parse_create_request(std::string(100'000, '[')), http_error);
  CHECK_THROWS_AS(parse_create_request(R"({"count":18446744073709551615})"), http_error);
}
