#ifndef HF_SANDBOX_CORE_HPP
#define HF_SANDBOX_CORE_HPP

/// Everything that needs neither a transport nor a launcher of ours: nlohmann/json and OpenSSL's
/// digests are the only third parties behind it.
#include <hf/sandbox/any_launcher.hpp>
#include <hf/sandbox/any_transport.hpp>
#include <hf/sandbox/basic_client.hpp>
#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>
#include <hf/sandbox/process.hpp>
#include <hf/sandbox/version.hpp>

#endif
