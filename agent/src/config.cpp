#include "config.hpp"

#include "detail/unique_fd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>

namespace hf::agent {
namespace {

// A hundred years; more could not be counted in nanoseconds.
constexpr std::uint64_t longest_seconds = 3'155'760'000;

template <class Number>
Number parse_number(std::string_view name, std::string_view text, Number lowest, Number highest) {
  auto const fail = [&] {
    throw config_error(std::string(name) + " must be a number from " + std::to_string(lowest) +
                       " to " + std::to_string(highest) + ", not '" + std::string(text) + "'");
  };
  std::uint64_t value = 0;
  if (text.empty())
    fail();
  for (char const c : text) {
    if (c < '0' || c > '9')
      fail();
    auto const digit = static_cast<std::uint64_t>(c - '0');
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10)
      fail();
    value = value * 10 + digit;
  }
  if (value < static_cast<std::uint64_t>(lowest) || value > static_cast<std::uint64_t>(highest))
    fail();
  return static_cast<Number>(value);
}

// Like getenv, and what was there can no longer be read from /proc/<agent>/environ.
std::string take_secret(char const* name) {
  char* const value = std::getenv(name);
  if (value == nullptr)
    return {};
  std::string secret = value;
  for (char volatile* byte = value; *byte != '\0'; ++byte)
    *byte = '*';
  ::unsetenv(name);
  return secret;
}

// Variables for the commands that must not stand in the machine's description: NAME=VALUE, each
// ended by a zero byte. The file is gone before anything is started.
void read_environment_file(char const* path) {
  auto const fail = [&](char const* what) {
    throw config_error(std::string("SBX_ENV_FILE: ") + what + " " + path);
  };
  unique_fd const file(::open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file)
    fail("cannot open");
  std::string text;
  char part[4096];
  for (ssize_t n; (n = ::read(file.get(), part, sizeof part)) != 0;) {
    if (n < 0)
      fail("cannot read");
    text.append(part, static_cast<std::size_t>(n));
  }
  ::unlink(path);
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = text.find('\0', begin);
    auto const equals = text.find('=', begin);
    if (end == std::string::npos || equals == begin || equals >= end)
      fail("no variables in");
    ::setenv(text.substr(begin, equals - begin).c_str(),
             text.substr(equals + 1, end - equals - 1).c_str(), 1);
  }
}

void read_environment(config& settings) {
  settings.token = take_secret("SBX_TOKEN");
  if (settings.token.empty() && !settings.allow_no_auth)
    throw config_error("SBX_TOKEN is required (or the flag --allow-no-auth)");
  if (char const* port = std::getenv("SBX_PORT"))
    settings.port = parse_number<std::uint16_t>("SBX_PORT", port, 0, 65535);
  if (char const* path = std::getenv("SBX_SOCKET"))
    settings.socket = path;
  if (char const* idle = std::getenv("SBX_IDLE_TIMEOUT"))
    settings.idle_timeout = std::chrono::seconds(
        (std::min)(parse_number<std::uint64_t>("SBX_IDLE_TIMEOUT", idle, 0,
                                               std::numeric_limits<std::uint64_t>::max()),
                   longest_seconds));
  if (char const* life = std::getenv("SBX_LIFETIME"))
    settings.lifetime = std::chrono::seconds(
        parse_number<std::int64_t>("SBX_LIFETIME", life, 1, std::int64_t{1} << 30));
  if (char const* path = std::getenv("SBX_ENV_FILE")) {
    read_environment_file(path);
    ::unsetenv("SBX_ENV_FILE");
  }
  if (char const* limit = std::getenv("SBX_MAX_CONNECTIONS"))
    settings.max_connections =
        parse_number<std::size_t>("SBX_MAX_CONNECTIONS", limit, 1, std::size_t{1} << 30);
  if (char const* limit = std::getenv("SBX_SPILL_LIMIT"))
    settings.exec.log.spill =
        parse_number<std::uint64_t>("SBX_SPILL_LIMIT", limit, 0, std::uint64_t{1} << 50);
  if (char const* capacity = std::getenv("SBX_CAPACITY"))
    settings.host.capacity =
        parse_number<std::size_t>("SBX_CAPACITY", capacity, 1, std::size_t{1} << 30);
  if (char const* lowest = std::getenv("SBX_MIN_LANDLOCK_ABI"))
    settings.host.min_landlock_abi =
        parse_number<int>("SBX_MIN_LANDLOCK_ABI", lowest, 0, std::numeric_limits<int>::max());
  if (char const* mode = std::getenv("SBX_HOST_MODE"))
    settings.host.enabled = std::strcmp(mode, "1") == 0;
}

void read_arguments(config& settings, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view const flag = argv[i];
    auto const equals = flag.find('=');
    std::string_view const name = flag.substr(0, equals);
    bool const has_value = equals != std::string_view::npos;
    std::string_view const value = has_value ? flag.substr(equals + 1) : std::string_view();
    auto const milliseconds = [&] {
      return std::chrono::milliseconds(parse_number<std::int64_t>(name, value, 1, 1 << 30));
    };
    if (flag == "--allow-no-auth") {
      settings.allow_no_auth = true;
    } else if (flag == "--allow-unconfined") {
      settings.host.allow_unconfined = true;
    } else if (flag == "--version") {
      settings.show_version = true;
    } else if (flag == "--help") {
      settings.show_help = true;
    } else if (name == "--head-timeout-ms") {
      settings.allowed.head = milliseconds();
    } else if (name == "--body-timeout-ms") {
      settings.allowed.body = milliseconds();
    } else if (name == "--write-timeout-ms") {
      settings.allowed.write = milliseconds();
    } else if (name == "--keep-alive-ms") {
      settings.allowed.keep_alive = milliseconds();
    } else if (name == "--homes" && value.starts_with('/')) {
      settings.host.homes = value;
    } else if (name == "--ping-ms") {
      settings.exec.ping = milliseconds();
    } else if (name == "--linger-ms") {
      settings.exec.linger = milliseconds();
    } else if (name == "--results-ms") {
      settings.exec.results = milliseconds();
    } else if (name == "--output-memory") {
      settings.exec.memory = parse_number<std::uint64_t>(name, value, 1, std::uint64_t{1} << 50);
    } else {
      throw config_error("unknown argument '" + std::string(flag) + "'; see --help");
    }
  }
}

}  // namespace

char const* const help_text =
    "hf-sandbox-agent: runs commands and moves files for callers with the token, over HTTP\n"
    "\n"
    "environment:\n"
    "  SBX_TOKEN            the callers' token (X-Sandbox-Token); required\n"
    "  SBX_PORT             TCP port on 0.0.0.0, default 8000; 0: any free one\n"
    "  SBX_SOCKET           path of a unix socket to listen on instead\n"
    "  SBX_HOST_MODE        1: hold many sandboxes (needs root); default: be one\n"
    "  SBX_CAPACITY         host mode: sandboxes at once, default 64\n"
    "  SBX_MIN_LANDLOCK_ABI host mode: oldest Landlock to start with, default 6\n"
    "  SBX_IDLE_TIMEOUT     seconds without activity after which the agent ends; default: never\n"
    "  SBX_LIFETIME         seconds after which the agent ends in any case; default: never\n"
    "  SBX_ENV_FILE         file with NAME=VALUE\\0 of further variables for the commands; "
    "removed\n"
    "  SBX_MAX_CONNECTIONS  connections at once; default: what the descriptor limit allows\n"
    "  SBX_SPILL_LIMIT      bytes of a run's unread output kept on disk; default: 1 GiB\n"
    "\n"
    "flags:\n"
    "  --allow-no-auth      start without a token: everybody who can connect is let in\n"
    "  --allow-unconfined   accepted for compatibility; matters to many sandboxes in one machine\n"
    "  --version, --help    print and exit\n";

config read_config(int argc, char** argv) {
  config settings;
  read_arguments(settings, argc, argv);
  if (settings.show_version || settings.show_help)
    return settings;
  read_environment(settings);
  return settings;
}

}  // namespace hf::agent
