import { query } from "./database.ts";

export interface Order {
  /** Chosen by the client, so that asking twice orders once. */
  id: string;
  item: string;
  quantity: number;
}

export type Placed = "created" | "repeated" | "taken";

const LISTED = 100;

/** Stores the order. `repeated`: it was there already; `taken`: its id belongs to a different order. */
export async function placeOrder(userId: string, { id, item, quantity }: Order): Promise<Placed> {
  const inserted = await query(
    "INSERT INTO orders (id, user_id, item, quantity) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING RETURNING id",
    [id, userId, item, quantity],
  );
  if (inserted.length > 0) return "created";
  const same = await query(
    "SELECT id FROM orders WHERE id = $1 AND user_id = $2 AND item = $3 AND quantity = $4",
    [id, userId, item, quantity],
  );
  return same.length > 0 ? "repeated" : "taken";
}

/** The user's last orders, newest first. */
export async function listOrders(userId: string): Promise<(Order & { createdAt: Date })[]> {
  return query(
    `SELECT id, item, quantity, created_at AS "createdAt" FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT $2`,
    [userId, LISTED],
  );
}
