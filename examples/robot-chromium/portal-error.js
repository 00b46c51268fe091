// SPDX-License-Identifier: MIT
//
// portal-error.js - what a portal, or the robot itself, says no to: an HTTP status, a code, and words for people.

export class PortalError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
