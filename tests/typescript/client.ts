// SPDX-License-Identifier: MIT
// What a front-end writes with the types of docs/openapi.json. Compiled only: a line below @ts-expect-error must not compile.
import type { components, operations, paths } from "./schema.js";

type Body<Op> = Op extends { requestBody: { content: { "application/json": infer B } } } ? B : never;
type Answer<Op, Status extends number> = Op extends { responses: Record<Status, { content: { "application/json": infer A } }> } ? A : never;
type Query<Op> = Op extends { parameters: { query: infer Q } } ? Q : never;

type Execute = paths["/api/v1/app/jobs/execute"]["post"];

export const login: Body<Execute> = { company_id: 20131, portal: "sunat", action: "sunat.menu_sol_login", params: { ruc: "20131" } };
export const active: Query<operations["app_session_active_get_app"]> = { company_id: 20131, portal: "sunat" };

export function shown(answer: Answer<Execute, 200>): string {
  const id: number = answer.job_id;
  return `${id} ${answer.session_id} ${answer.viewer_url ?? "no viewer"}`;
}

export async function call(token: string, body: Body<Execute>): Promise<Answer<Execute, 200> | components["schemas"]["Error"]> {
  const path: keyof paths = "/api/v1/app/jobs/execute";
  const got = await fetch(path, { method: "POST", headers: { Authorization: `Bearer ${token}` }, body: JSON.stringify(body) });
  return (await got.json()) as Answer<Execute, 200> | components["schemas"]["Error"];
}

export async function run(token: string): Promise<string> {
  const answer = await call(token, login);
  if (answer.ok) return shown(answer);
  const code: components["schemas"]["ErrorCode"] = answer.error;
  return `${code}: ${answer.message}`;
}

// @ts-expect-error company_id is no truth value
export const wrongType: Body<Execute> = { company_id: true, portal: "sunat", action: "sunat.menu_sol_login" };
// @ts-expect-error portal is required
export const missing: Body<Execute> = { company_id: 20131, action: "sunat.menu_sol_login" };
// @ts-expect-error there is no such path
export const nowhere: keyof paths = "/api/v1/app/jobs/exekute";
// @ts-expect-error there is no such code
export const noCode: components["schemas"]["ErrorCode"] = "session_expird";
